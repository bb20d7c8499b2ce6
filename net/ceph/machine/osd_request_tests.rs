// SPDX-License-Identifier: GPL-2.0
//! Tests of the life of a request: each way from each state, on the small map of the tests
//! of where requests go.
use kernel::prelude::*;

#[kunit_tests(ceph_machine_osd_request)]
mod tests {
    use super::super::osd_request::{Answered, PoolCheck, Request, State, Verdict};
    use super::super::osd_target::{Context, ObjectName, Target};
    use super::super::osd_target_tests::tests::{
        apply, full, incremental, incremental_pools, DATA, NEVER,
    };
    use super::*;
    use crate::wire::encode::Encoder;
    use crate::wire::osd::{flag, Op, OpVec, OsdOpReply, NO_SNAP};
    use crate::wire::osdmap::{flags, OsdMap};
    use crate::wire::osdmap_pool::PgId;

    const NO_POOL: i64 = 77;
    const ASKED: State = State::AskingPool(PoolCheck::Asked);

    const fn bound(epoch: u32) -> State {
        State::AskingPool(PoolCheck::Bound(epoch))
    }

    fn request(pool: i64) -> Request {
        let name = ObjectName::of_file(0x100_0000_0001, 0);
        let target = Target::new(pool, KVec::new(), name, flag::READ);
        let mut ops = OpVec::new(Op::Stat);
        let read = Op::Read {
            offset: 0,
            length: 10,
            truncate_size: 0,
            truncate_seq: 0,
        };
        assert!(ops.push(read).is_ok());
        Request::new(target, ops, NO_SNAP)
    }

    fn map() -> Result<OsdMap> {
        OsdMap::decode(&full(0, 8)?)
    }

    /// The next map, with the states of OSDs changed.
    fn next(map: &OsdMap, flip: &[(i32, u32)]) -> Result<OsdMap> {
        apply(map, &incremental(map.epoch + 1, flip, &[])?)
    }

    /// A request that was sent by a map.
    fn sent(map: &OsdMap) -> Request {
        let mut req = request(DATA);
        assert_eq!(req.map(map, &NEVER), Verdict::Place);
        assert!(req.may_be_sent());
        req.sent();
        req
    }

    struct Reply<'a> {
        result: i32,
        ops: &'a [(i32, u32)],
        attempt: i32,
        redirect: Option<i64>,
    }

    const GOOD: Reply<'_> = Reply {
        result: 0,
        ops: &[(0, 16), (4, 4)],
        attempt: 0,
        redirect: None,
    };

    impl Reply<'_> {
        fn encode(&self) -> Result<KVVec<u8>> {
            let mut e = Encoder::new();
            e.blob(b"object")?;
            PgId::default().encode(&mut e)?;
            e.u64(0)?.i32(self.result)?.bytes(&[0; 12])?.u32(9)?;
            e.u32(u32::try_from(self.ops.len())?)?;
            for (_, len) in self.ops {
                e.bytes(&[0; 34])?.u32(*len)?;
            }
            e.i32(self.attempt)?;
            for (result, _) in self.ops {
                e.i32(*result)?;
            }
            e.bytes(&[0; 12])?.u64(77)?.bool(self.redirect.is_some())?;
            if let Some(pool) = self.redirect {
                e.versioned(1, 1, |e| {
                    e.versioned(6, 3, |e| {
                        e.i64(pool)?.i32(-1)?.blob(b"")?.blob(b"")?.i64(-1)?;
                        Ok(())
                    })?;
                    e.blob(b"")?.u32(0)?;
                    Ok(())
                })?;
            }
            Ok(e.into_vec())
        }
    }

    /// What a reply comes to: the bytes read by the second operation.
    fn reply(req: &mut Request, reply: &Reply<'_>) -> Result<Option<Result<u32>>> {
        match req.reply(&reply.encode()?, OsdOpReply::VERSION, 20) {
            Answered::Over(result) => {
                let read = result.map(|ops| ops.get(1).map_or(0, |(_, len)| *len));
                Ok(Some(read))
            }
            Answered::Corrupt => Ok(Some(Err(EIO))),
            Answered::Stale | Answered::Place => Ok(None),
        }
    }

    #[test]
    fn from_new_to_an_answer() -> Result {
        let mut req = request(DATA);
        assert_eq!((req.state(), req.osd()), (State::Homeless, None));
        assert!(req.waits_for_map() && !req.may_be_sent());
        // Nothing goes out before a map has come.
        req.sent();
        assert_eq!(req.attempts(), 0);
        let map = map()?;
        assert_eq!(req.map(&map, &NEVER), Verdict::Place);
        assert_eq!(req.state(), State::Unsent);
        assert_eq!(req.osd(), Some(req.target().osd));
        // The same map again is no news.
        assert_eq!(req.map(&map, &NEVER), Verdict::Stay);
        req.sent();
        assert_eq!((req.state(), req.attempts()), (State::Sent, 1));
        assert_eq!(req.map(&map, &NEVER), Verdict::Stay);
        assert_eq!(req.map(&next(&map, &[])?, &NEVER), Verdict::Stay);
        assert!(reply(&mut req, &GOOD)? == Some(Ok(4)));
        assert_eq!(req.state(), State::Ended);
        // Nothing comes after the end.
        assert!(reply(&mut req, &GOOD)?.is_none());
        assert_eq!(req.fail(EINTR), Verdict::Stay);
        assert_eq!(req.map(&map, &NEVER), Verdict::Stay);
        assert_eq!(req.state(), State::Ended);
        Ok(())
    }

    #[test]
    fn homeless_while_no_osd_has_it() -> Result {
        let up = map()?;
        let mut req = sent(&up);
        let all = [(0, 0), (1, 0), (2, 0), (3, 0)];
        let down = next(&up, &all)?;
        assert_eq!(req.map(&down, &NEVER), Verdict::Place);
        assert_eq!((req.state(), req.osd()), (State::Homeless, None));
        assert_eq!(req.map(&next(&down, &[])?, &NEVER), Verdict::Stay);
        let mut back = next(&next(&down, &[])?, &all)?;
        assert_eq!(req.map(&back, &NEVER), Verdict::Place);
        assert_eq!(req.state(), State::Unsent);
        // Without memory for a session, the same map is worth another try.
        req.homeless();
        assert_eq!(req.state(), State::Homeless);
        assert_eq!(req.map(&back, &NEVER), Verdict::Place);
        assert_eq!(req.state(), State::Unsent);
        // Without memory for where it goes, too.
        let none = Context {
            place: &|_, _, _| None,
            ..NEVER
        };
        back.epoch += 1;
        assert_eq!(req.map(&back, &none), Verdict::Stay);
        assert_eq!(req.target().epoch + 1, back.epoch);
        Ok(())
    }

    #[test]
    fn sent_again_in_a_new_interval() -> Result {
        let map = map()?;
        let mut req = sent(&map);
        let first = req.target().osd;
        let down = next(&map, &[(first, 0)])?;
        assert_eq!(req.map(&down, &NEVER), Verdict::Place);
        assert_eq!((req.state(), req.attempts()), (State::Unsent, 1));
        assert!(req.osd().is_some_and(|osd| osd != first));
        req.sent();
        assert_eq!(req.attempts(), 2);
        // A reply to the first sending is not the one, whatever it says.
        let late = Reply { result: -5, ..GOOD };
        assert!(reply(&mut req, &late)?.is_none());
        assert_eq!(req.state(), State::Sent);
        let right = Reply { attempt: 1, ..GOOD };
        assert!(reply(&mut req, &right)? == Some(Ok(4)));
        Ok(())
    }

    #[test]
    fn sent_again_after_maps_that_were_not_seen() -> Result {
        let first = map()?;
        let mut req = sent(&first);
        let second = next(&first, &[])?;
        let third = next(&second, &[])?;
        // The OSDs may have been others in between.
        assert_eq!(req.map(&third, &NEVER), Verdict::Place);
        assert_eq!(req.state(), State::Unsent);
        Ok(())
    }

    #[test]
    fn paused_by_flags_and_barrier() -> Result {
        let forbids = OsdMap::decode(&full(flags::PAUSERD, 8)?)?;
        let mut req = request(DATA);
        assert_eq!(req.map(&forbids, &NEVER), Verdict::Place);
        assert_eq!(req.state(), State::Paused);
        // It waits with its OSD.
        assert!(req.osd().is_some() && req.waits_for_map() && !req.may_be_sent());
        assert_eq!(req.map(&forbids, &NEVER), Verdict::Stay);
        let allows = map()?;
        let barred = Context {
            barrier: 11,
            ..NEVER
        };
        assert_eq!(req.map(&allows, &barred), Verdict::Stay);
        assert_eq!(req.map(&next(&allows, &[])?, &barred), Verdict::Place);
        assert_eq!(req.state(), State::Unsent);
        // What has been sent stays sent; what has not waits again.
        let mut unsent = request(DATA);
        unsent.map(&allows, &NEVER);
        assert_eq!(unsent.map(&allows, &barred), Verdict::Place);
        assert_eq!(unsent.state(), State::Paused);
        // The barrier was a false one.
        assert_eq!(unsent.map(&allows, &NEVER), Verdict::Place);
        assert_eq!(unsent.state(), State::Unsent);
        let mut req = sent(&allows);
        assert_eq!(req.map(&allows, &barred), Verdict::Stay);
        assert_eq!(req.state(), State::Sent);
        Ok(())
    }

    #[test]
    fn backed_off() -> Result {
        let map = map()?;
        let mut req = request(DATA);
        req.map(&map, &NEVER);
        req.back_off();
        assert_eq!(req.state(), State::BackedOff);
        assert!(!req.may_be_sent() && !req.waits_for_map());
        req.sent();
        assert_eq!(req.attempts(), 0);
        assert_eq!(req.map(&map, &NEVER), Verdict::Stay);
        req.unblock();
        assert_eq!(req.state(), State::Unsent);
        req.sent();
        // The request that met the backoff has been sent, and is lost.
        req.back_off();
        assert_eq!(req.state(), State::Sent);
        req.unblock();
        assert_eq!(req.state(), State::Unsent);
        // Of a session that is over there are none.
        req.back_off();
        req.reset();
        assert_eq!(req.state(), State::Unsent);
        // A pause is a pause.
        req.back_off();
        let barred = Context {
            barrier: 11,
            ..NEVER
        };
        assert_eq!(req.map(&map, &barred), Verdict::Place);
        req.unblock();
        req.reset();
        assert_eq!(req.state(), State::Paused);
        Ok(())
    }

    #[test]
    fn a_session_that_broke() -> Result {
        let mut req = sent(&map()?);
        req.reset();
        assert!(req.may_be_sent());
        req.sent();
        assert_eq!((req.state(), req.attempts()), (State::Sent, 2));
        Ok(())
    }

    #[test]
    fn a_pool_that_is_nowhere() -> Result {
        let first = map()?;
        let mut req = request(NO_POOL);
        assert_eq!(req.map(&first, &NEVER), Verdict::Place);
        assert_eq!(req.state(), State::AskingPool(PoolCheck::Due));
        assert!(req.osd().is_none());
        // An answer that was not asked for.
        assert_eq!(req.confirmed(Ok(10)), Verdict::Stay);
        req.asked();
        assert_eq!(req.confirmed(Err(ENOMEM)), Verdict::Stay);
        assert_eq!(req.state(), State::AskingPool(PoolCheck::Due));
        req.asked();
        assert_eq!(req.state(), ASKED);
        assert_eq!(req.map(&first, &NEVER), Verdict::Stay);
        // The monitors have a newer map, which has to be waited for.
        assert_eq!(req.confirmed(Ok(12)), Verdict::Stay);
        assert_eq!(req.state(), bound(12));
        let second = next(&first, &[])?;
        assert_eq!(req.map(&second, &NEVER), Verdict::Stay);
        assert_eq!(req.map(&next(&second, &[])?, &NEVER), Verdict::End(ENOENT));
        assert_eq!((req.end(), req.state()), (ENOENT, State::Ended));
        // Or have not.
        let mut req = request(NO_POOL);
        req.map(&first, &NEVER);
        req.asked();
        assert_eq!(req.confirmed(Ok(10)), Verdict::End(ENOENT));
        Ok(())
    }

    fn pools(map: &OsdMap, come: &[i64], go: &[i64]) -> Result<OsdMap> {
        apply(map, &incremental_pools(map.epoch + 1, come, go)?)
    }

    #[test]
    fn a_pool_that_comes_between_question_and_answer() -> Result {
        let first = map()?;
        let mut req = request(NO_POOL);
        req.map(&first, &NEVER);
        req.asked();
        // It is there, but none of its OSDs is up.
        let down = next(&first, &[(0, 0), (1, 0), (2, 0), (3, 0)])?;
        assert_eq!(req.map(&down, &NEVER), Verdict::Stay);
        let mut created = pools(&down, &[NO_POOL], &[])?;
        assert_eq!(req.map(&created, &NEVER), Verdict::Place);
        assert_eq!(req.state(), State::Homeless);
        // What the monitors had when they were asked is older, or the same.
        for newest in [created.epoch - 1, created.epoch] {
            assert_eq!(req.confirmed(Ok(newest)), Verdict::Stay);
            assert_eq!(req.state(), State::Homeless);
        }
        created = next(&created, &[(0, 0), (1, 0), (2, 0), (3, 0)])?;
        assert_eq!(req.map(&created, &NEVER), Verdict::Place);
        assert_eq!(req.state(), State::Unsent);
        Ok(())
    }

    #[test]
    fn a_pool_that_is_removed() -> Result {
        let first = map()?;
        // Once it has been sent, nobody has to be asked.
        let mut req = sent(&first);
        let gone = pools(&first, &[], &[DATA])?;
        assert_eq!(req.map(&gone, &NEVER), Verdict::End(ENOENT));
        let mut req = request(DATA);
        req.map(&first, &NEVER);
        assert_eq!(req.map(&gone, &NEVER), Verdict::Place);
        assert_eq!(req.state(), State::AskingPool(PoolCheck::Due));
        Ok(())
    }

    #[test]
    fn elsewhere() -> Result {
        let map = map()?;
        let mut req = sent(&map);
        let redirect = Reply {
            redirect: Some(3),
            ..GOOD
        };
        assert!(reply(&mut req, &redirect)?.is_none());
        assert_eq!(req.state(), State::Homeless);
        assert_eq!(req.map(&map, &NEVER), Verdict::Place);
        assert_eq!((req.state(), req.target().pool), (State::Unsent, 3));
        req.sent();
        let primary = Reply {
            result: EAGAIN.to_errno(),
            attempt: 1,
            ..GOOD
        };
        assert!(reply(&mut req, &primary)?.is_none());
        assert_eq!(req.map(&map, &NEVER), Verdict::Place);
        assert!(req.may_be_sent());
        Ok(())
    }

    #[test]
    fn errors() -> Result {
        let map = map()?;
        for (result, error) in [(-2, ENOENT), (-511, EIO), (-512, EIO), (i32::MIN, EIO)] {
            let mut req = sent(&map);
            let got = reply(&mut req, &Reply { result, ..GOOD })?;
            let expected = if result == -511 {
                Error::from_errno(-511)
            } else {
                error
            };
            assert!(got == Some(Err(expected)));
        }
        // Operations that were not asked for, and data that is not there.
        for ops in [
            &[][..],
            &[(0, 20)],
            &[(0, 16), (4, 5)],
            &[(0, 16), (0, 2), (0, 2)],
        ] {
            let mut req = sent(&map);
            let bytes = Reply { ops, ..GOOD }.encode()?;
            let got = req.reply(&bytes, OsdOpReply::VERSION, 20);
            assert!(matches!(got, Answered::Corrupt) && req.state() == State::Ended);
        }
        let mut req = sent(&map);
        let got = req.reply(&[1, 2, 3], OsdOpReply::VERSION, 20);
        assert!(matches!(got, Answered::Corrupt) && req.state() == State::Ended);
        Ok(())
    }

    #[test]
    fn failed_from_each_state() -> Result {
        let up = map()?;
        let barred = Context {
            barrier: 11,
            ..NEVER
        };
        let made: [&dyn Fn(&mut Request); 6] = [
            &|_| {},
            &|req| assert_eq!(req.map(&up, &barred), Verdict::Place),
            &|req| assert_eq!(req.map(&up, &NEVER), Verdict::Place),
            &|req| {
                req.map(&up, &NEVER);
                req.back_off();
            },
            &|req| {
                req.map(&up, &NEVER);
                req.sent();
            },
            &|req| assert_eq!(req.fail(ETIMEDOUT), Verdict::End(ETIMEDOUT)),
        ];
        for (made, state) in made.iter().zip([
            State::Homeless,
            State::Paused,
            State::Unsent,
            State::BackedOff,
            State::Sent,
            State::Ending(ETIMEDOUT),
        ]) {
            let mut req = request(DATA);
            made(&mut req);
            assert_eq!(req.state(), state);
            let error = match state {
                State::Ending(first) => first,
                _ => EINTR,
            };
            assert_eq!(req.fail(EINTR), Verdict::End(error));
            // Nothing brings it back.
            assert_eq!(req.map(&next(&up, &[])?, &NEVER), Verdict::End(error));
            req.reset();
            req.unblock();
            req.homeless();
            req.sent();
            assert_eq!(req.state(), State::Ending(error));
            // A good answer does count; "somebody else has to" does not.
            let mut other = request(DATA);
            made(&mut other);
            other.fail(EINTR);
            if state == State::Sent {
                assert!(reply(&mut other, &GOOD)? == Some(Ok(4)));
                let mut other = sent(&up);
                other.fail(EINTR);
                let result = EAGAIN.to_errno();
                assert!(reply(&mut other, &Reply { result, ..GOOD })? == Some(Err(EINTR)));
            } else {
                assert!(reply(&mut other, &GOOD)?.is_none());
            }
            assert_eq!((req.end(), req.state()), (error, State::Ended));
        }
        let mut req = request(NO_POOL);
        req.map(&up, &NEVER);
        req.asked();
        assert_eq!(req.fail(EINTR), Verdict::End(EINTR));
        assert_eq!(req.confirmed(Ok(1)), Verdict::Stay);
        assert_eq!(req.end(), EINTR);
        Ok(())
    }
}
