// SPDX-License-Identifier: GPL-2.0
//! The listing of a directory, against a plain list of its names.
use crate::harness::{run_events, Events};
use ceph_fs_proto::machine::listing::{Listing, Part, Position};
use kernel::{prelude::*, sync::Arc};
use std::vec::Vec;

/// Position, name and inode of each entry, in order.
type Model<'a> = Vec<(Position, &'a [u8], u64)>;

/// Makes a part of what the events say, and adds to the model what was taken.
fn part<'a>(e: &mut Events<'a>, follow: Option<Position>) -> Result<(Part, Model<'a>)> {
    let count = e.u8() % 8;
    let mut part = Part::with_capacity(usize::from(count), 16)?;
    let mut names = Vec::new();
    for _ in 0..count {
        let (hash, ino) = (u32::from(e.u8() & 7) << (e.u8() & 31), u64::from(e.u8()));
        let len = usize::from(e.u8() % 9);
        let name = e.bytes(len);
        let before = part.last();
        match part.push(hash, name, ino, 0o100_000) {
            Ok(()) => names.push((name, ino)),
            Err(ENOMEM) => return Err(ENOMEM),
            Err(error) => {
                assert_eq!(error, EINVAL);
                assert!(before > Some(Position::of_hash(hash)));
            }
        }
    }
    if let Some(before) = follow {
        part.follow(before);
    }
    assert_eq!(part.len(), names.len());
    assert_eq!(part.is_empty(), names.is_empty());
    assert_eq!(part.last_name(), names.last().map(|(name, _)| *name));
    let entries: Vec<_> = part.from(Position::START).collect();
    assert_eq!(entries.len(), names.len());
    let model: Model<'a> = entries
        .iter()
        .zip(names)
        .map(|(entry, (name, ino))| {
            assert_eq!((entry.name, entry.ino), (name, ino));
            (entry.at, name, ino)
        })
        .collect();
    assert!(model.windows(2).all(|pair| pair[0].0 < pair[1].0));
    assert_eq!(part.first(), model.first().map(|entry| entry.0));
    assert_eq!(part.last(), model.last().map(|entry| entry.0));
    Ok((part, model))
}

fn events(mut e: Events<'_>) -> Result {
    let mut all = Listing::new();
    let mut model: Model<'_> = Vec::new();
    while e.more() {
        let last = model.last().map(|entry| entry.0);
        let follow = (e.u8() & 1 != 0).then_some(last).flatten();
        let (part, entries) = part(&mut e, follow)?;
        let fits = entries.first().is_none_or(|entry| Some(entry.0) > last);
        match all.push(&Arc::new(part, GFP_KERNEL)?) {
            Ok(()) => {
                assert!(fits);
                model.extend(entries);
            }
            Err(ENOMEM) => return Err(ENOMEM),
            Err(error) => {
                assert_eq!(error, EINVAL);
                assert!(!fits);
            }
        }
        let at = match e.u8() & 3 {
            0 => Position::START,
            1 => Position::of_hash(u32::from(e.u8() & 7) << (e.u8() & 31)),
            2 => last.unwrap_or(Position::START).next(),
            _ => Position(e.u64() as i64),
        };
        let rest = model.iter().filter(|entry| entry.0 >= at);
        assert!(all
            .from(at)
            .map(|entry| (entry.at, entry.name, entry.ino))
            .eq(rest.copied()));
    }
    Ok(())
}

pub(crate) fn listing(raw: &[u8]) {
    run_events(raw, |e| match events(e) {
        Ok(()) | Err(ENOMEM) => {}
        Err(error) => panic!("{error:?}"),
    });
}
