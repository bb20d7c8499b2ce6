// SPDX-License-Identifier: GPL-2.0
//! One test for each kind of operation, called by the VFS.

use super::*;
use crate::bindings;
use crate::fs::inode::mode;
use crate::fs::registration;
use crate::workqueue::{OwnedQueue, Queues};
use core::mem::MaybeUninit;
use kernel::error::{from_err_ptr, to_result};

/// `struct kstat` of what has that name.
fn stat(mounted: &Mounted, name: &[u8]) -> Result<bindings::kstat> {
    let mut stat = MaybeUninit::<bindings::kstat>::zeroed();
    mounted.with_path(name, |path| {
        // SAFETY: The path is held, and the buffer valid.
        to_result(unsafe {
            bindings::vfs_getattr(path, stat.as_mut_ptr(), bindings::STATX_BASIC_STATS, 0)
        })
    })??;
    // SAFETY: All zeroes is a value of this C struct.
    Ok(unsafe { stat.assume_init() })
}

/// Calls `f` with the dentry of what has that name.
fn with_dentry<R>(
    mounted: &Mounted,
    name: &[u8],
    f: impl FnOnce(&Dentry<TestFs>) -> R,
) -> Result<R> {
    // SAFETY: The path is held, in a mount of `TestFs`.
    mounted.with_path(name, |path| f(unsafe { Dentry::from_raw(path.dentry) }))
}

/// Looks up what does not exist; the root has a negative dentry then.
fn miss(root: &Dentry<TestFs>, mounted: &Mounted) -> bool {
    mounted.open(b"missing").is_err()
        && root
            .cached_child(b"missing")
            .is_some_and(|child| child.is_negative())
}

#[kunit_tests(kernel_ext_fs_vfs)]
mod tests {
    use super::*;

    /// Mounts, calls, unmounts, and looks that nothing is left.
    fn mounted(f: impl FnOnce(&Mounted) -> Result) -> Result {
        let registration = registration::<TestFs>()?;
        let result = f(&Mounted::new(&registration, &options())?);
        drop(registration);
        assert_eq!((SUPERS.load(Relaxed), INODES.load(Relaxed)), (0, 0));
        result
    }

    #[test]
    fn two_super_blocks() -> Result {
        let registration = registration::<TestFs>()?;
        let one = Mounted::new(&registration, &options())?;
        let other = [
            (c"source", c"nowhere"),
            (c"size", c"0x1000"),
            (c"colour", c"blue"),
        ];
        let two = Mounted::new(&registration, &other)?;
        assert_eq!(SUPERS.load(Relaxed), 2);
        assert_eq!(stat(&one, b"file")?.size, 600_000);
        assert_eq!(stat(&two, b"file")?.size, 4096);
        let sb = two.super_block();
        assert_eq!(sb.bdi_name().as_deref(), Some(&b"rust-test-4096"[..]));
        assert!(sb.dev() != one.super_block().dev());
        assert!(!sb.is_rdonly());
        Ok(())
    }

    #[test]
    fn attributes() -> Result {
        mounted(|m| {
            let file = stat(m, b"file")?;
            assert_eq!((file.mode, file.nlink), (mode::REGULAR | 0o644, 1));
            assert_eq!((file.uid.val, file.gid.val), (7, 8));
            assert_eq!((file.size, file.blksize), (600_000, 1 << 16));
            assert_eq!((file.mtime.tv_sec, file.mtime.tv_nsec), (3, 4));
            assert_eq!(stat(m, b"")?.mode, mode::DIRECTORY | 0o755);
            assert_eq!(stat(m, b"pipe")?.mode, mode::FIFO | 0o600);
            let sb = m.super_block();
            let inode = sb.find_inode(&THE_FILE).ok_or(ENOENT)?;
            inode.set_mode(0o170600);
            inode.set_nlink(3);
            inode.set_blocks(5);
            inode.set_size(7);
            let file = stat(m, b"file")?;
            assert_eq!((file.mode, file.nlink), (mode::REGULAR | 0o600, 3));
            assert_eq!((file.size, file.blocks), (7, 5));
            assert!(sb.find_inode(&77).is_none());
            assert!(sb.find_inode_now(&77).is_none());
            assert!(sb
                .find_inode_now(&THE_FILE)
                .is_some_and(|found| found.ino() == THE_FILE));
            match sb.get_or_create_inode(&UNREADY)? {
                Got::Existing(_) => return Err(EEXIST),
                Got::New(_new) => assert!(sb.find_inode_now(&UNREADY).is_none()),
            }
            Ok(())
        })
    }

    #[test]
    fn statfs() -> Result {
        mounted(|m| {
            let mut buf = MaybeUninit::<bindings::kstatfs>::zeroed();
            m.with_path(b"", |path| {
                // SAFETY: The path is held, and the buffer valid.
                to_result(unsafe { bindings::vfs_statfs(path, buf.as_mut_ptr().cast()) })
            })??;
            // SAFETY: All zeroes is a value of this C struct.
            let buf = unsafe { buf.assume_init() };
            assert_eq!((buf.f_blocks, buf.f_bfree, buf.f_bavail), (100, 50, 25));
            assert_eq!(buf.f_namelen, 255);
            Ok(())
        })
    }

    #[test]
    fn symlink() -> Result {
        mounted(|m| {
            m.with_path(b"link", |path| {
                let mut done = bindings::delayed_call::default();
                // SAFETY: The dentry is held; the target lives as long as its inode.
                let target = unsafe {
                    let target = bindings::vfs_get_link(path.dentry, &mut done);
                    CStr::from_char_ptr(from_err_ptr(target.cast_mut())?)
                };
                assert_eq!(target, c"file");
                Ok(())
            })?
        })
    }

    #[test]
    fn dentries() -> Result {
        mounted(|m| {
            let root = m.super_block().root().ok_or(ENOENT)?;
            assert!(root.is_root() && root.inode().is_some_and(|i| i.is_dir()));
            assert!(root.cached_child(b"file").is_none());
            assert!(root.cached_child(b"").is_none() && root.cached_child(&[b'x'; 256]).is_none());
            with_dentry(m, b"file", |dentry| -> Result {
                assert_eq!(&dentry.name()?[..], b"file");
                assert_eq!(&dentry.path()?[..], b"/file");
                assert!(core::ptr::eq(&*dentry.parent(), root));
                let cached = root.cached_child(b"file").ok_or(ENOENT)?;
                assert!(core::ptr::eq(&*cached, dentry));
                cached.put_now();
                // The next lookup finds it invalid, and asks the file system.
                dentry.data().0.store(0, Relaxed);
                let again = with_dentry(m, b"file", |d| (d.as_ptr(), d.data().0.load(Relaxed)))?;
                assert!(again.0 != dentry.as_ptr() && again.1 == 1);
                assert!(dentry.is_unhashed());
                Ok(())
            })??;
            assert!(miss(root, m));
            let alias = m
                .super_block()
                .find_inode(&THE_FILE)
                .and_then(|i| i.find_alias());
            alias.as_ref().ok_or(ENOENT)?.unhash();
            assert!(root.cached_child(b"file").is_none());
            Ok(())
        })
    }

    #[test]
    fn names_that_do_not_exist_are_no_children() -> Result {
        mounted(|m| {
            let root = m.super_block().root().ok_or(ENOENT)?;
            root.shrink_children();
            assert!(!root.has_positive_child());
            assert!(miss(root, m) && !root.has_positive_child());
            with_dentry(m, b"file", |_| ())?;
            assert!(root.has_positive_child());
            root.shrink_children();
            assert!(!root.has_positive_child());
            Ok(())
        })
    }

    #[test]
    fn last_references_are_put_by_work() -> Result {
        mounted(|m| {
            let lock = KBox::pin_init(crate::new_spinlock!((), "kernel_ext_fs_vfs"), GFP_KERNEL)?;
            let sb = m.super_block();
            let inode = get(sb, THE_FILE)?;
            let dentry = with_dentry(m, b"link", |dentry| dentry.get())?;
            dentry.unhash();
            {
                // Neither may be put here: that sleeps.
                let _atomic = lock.lock();
                drop(inode);
                drop(dentry);
            }
            Ok(())
        })
    }

    #[test]
    fn references_are_dropped_with_the_lock_held() -> Result {
        mounted(|m| {
            let kept = with_dentry(m, b"link", |dentry| dentry.get())?;
            let others = [kept.clone(), kept.clone()];
            // SAFETY: The dentry is held. What has its lock does not sleep.
            let before = unsafe { bindings::test_dentry_count(kept.as_ptr()) };
            // SAFETY: As above.
            unsafe { bindings::test_lock_dentry(kept.as_ptr()) };
            drop(others);
            // SAFETY: As above.
            unsafe { bindings::test_unlock_dentry(kept.as_ptr()) };
            let sb = m.super_block().as_ptr();
            // SAFETY: The super block is mounted, of a registration, whose queue lives.
            let left = unsafe {
                let queue = registration::Inner::from_fs_type((*sb).s_type).queue;
                bindings::__flush_workqueue(queue);
                bindings::test_dentry_count(kept.as_ptr())
            };
            assert_eq!(before.saturating_sub(left), 2);
            Ok(())
        })
    }

    #[test]
    fn children_that_are_forgotten() -> Result {
        mounted(|m| {
            let dir = m.open(b"")?;
            let names = || Names::new(usize::MAX).read(&dir);
            FORGETFUL.store(1, Relaxed);
            // In the making, and then in the tree; a lookup waits for neither.
            let forgotten = names();
            let opened = m.open(b"file").map(drop);
            let again = names();
            FORGETFUL.store(0, Relaxed);
            forgotten.and(opened).and(again)?;
            names()
        })
    }

    #[test]
    fn new_inodes_stay_out_of_the_tree() -> Result {
        mounted(|m| {
            assert!(matches!(m.open(b"unready"), Err(e) if e == EINVAL));
            // It became a bad inode, which nobody finds.
            assert!(m.super_block().find_inode(&UNREADY).is_none());
            Ok(())
        })
    }

    #[test]
    fn directories_in_pieces() -> Result {
        mounted(|m| {
            let dir = m.open(b"")?;
            let mut names = Names::new(0);
            for piece in [&b". "[..], b". .. file ", b". .. file link "] {
                names.room = if names.seen.is_empty() { 1 } else { 2 };
                names.read(&dir)?;
                assert_eq!(&names.seen[..], piece);
            }
            // A regular file has no children, whatever its operations are.
            let no_dir = m.open(b"no dir")?;
            assert!(matches!(Names::new(9).read(&no_dir), Err(e) if e == ENOTDIR));
            Ok(())
        })
    }

    #[test]
    fn page_cache() -> Result {
        mounted(|m| {
            let file = m.open(b"file")?;
            let (mut buf, mut pos) = ([0; 16], 0x1_0000 - 8);
            assert_eq!(file.read(&mut buf, &mut pos)?, 16);
            for (i, got) in buf.iter().enumerate() {
                assert_eq!(*got, byte(0x1_0000 - 8 + i as u64));
            }
            let inode = m.super_block().find_inode(&THE_FILE).ok_or(ENOENT)?;
            assert!(inode.nr_pages() > 0);
            inode.invalidate_pages()?;
            assert_eq!(inode.nr_pages(), 0);
            // The end moves.
            inode.set_size(10);
            inode.truncate_pagecache(10);
            let file = m.open(b"file")?;
            pos = 0;
            assert_eq!(file.read(&mut buf, &mut pos)?, 10);
            Ok(())
        })
    }

    #[test]
    fn direct_reads() -> Result {
        mounted(|m| {
            let file = m.open_flags(b"file", bindings::O_DIRECT)?;
            let mut buf = KVVec::from_elem(0xffu8, 0x3_0000, GFP_KERNEL)?;
            let mut pos = 0;
            assert_eq!(file.read(&mut buf, &mut pos)?, 0x3_0000);
            for (offset, got) in buf.iter().enumerate().step_by(97) {
                let hole = offset >= 0x2_0000;
                assert_eq!(*got, if hole { 0 } else { byte(offset as u64) });
            }
            let inode = m.super_block().find_inode(&THE_FILE).ok_or(ENOENT)?;
            assert_eq!(inode.nr_pages(), 0);
            Ok(())
        })
    }

    #[test]
    fn direct_reads_that_nobody_waits_for() -> Result {
        mounted(|m| {
            let queued = EIOCBQUEUED.to_errno() as isize;
            let file = m.open_flags(b"file", bindings::O_DIRECT)?;
            let mut buf = KVVec::from_elem(0xffu8, 0x2_0000, GFP_KERNEL)?;
            let (told, ended, pos) = file.read_async(&mut buf, 0x1_2345);
            assert_eq!((told, ended, pos), (queued, Some(0x2_0000), 0x3_2345));
            for (offset, got) in (0x1_2345..).zip(&buf).step_by(97) {
                let hole = offset >= 0x2_0000;
                assert_eq!(*got, if hole { 0 } else { byte(offset) });
            }
            let bad = m.open_flags(b"bad", bindings::O_DIRECT)?;
            let (told, ended, pos) = bad.read_async(&mut buf, 1);
            assert_eq!(
                (told, ended, pos),
                (queued, Some(EIO.to_errno() as isize), 1)
            );
            // The end of each was told.
            assert_eq!((BEGUN.load(Relaxed), ENDED.load(Relaxed)), (2, 2));
            Ok(())
        })
    }

    #[test]
    fn failed_reads() -> Result {
        mounted(|m| {
            for flags in [0, bindings::O_DIRECT] {
                let bad = m.open_flags(b"bad", flags)?;
                assert!(matches!(bad.read(&mut [0; 10], &mut 0), Err(e) if e == EIO));
            }
            Ok(())
        })
    }

    #[test]
    fn the_vfs_is_not_misled() -> Result {
        mounted(|m| {
            let odd = m.open(b"odd")?;
            let mut pos = 0;
            assert_eq!(odd.read(&mut [1; 10], &mut pos)?, 3);
            assert_eq!(pos, 3);
            assert!(matches!(odd.read(&mut [1; 10], &mut pos), Err(e) if e == EIO));
            // SAFETY: The file is open.
            let seek =
                |offset, whence| unsafe { bindings::vfs_llseek(odd.as_ptr(), offset, whence) };
            assert_eq!(seek(-2, bindings::SEEK_END as i32), 3);
            assert_eq!(
                seek(11, bindings::SEEK_SET as i32),
                i64::from(EINVAL.to_errno())
            );

            let dir = m.open(b"")?;
            // SAFETY: The file is open; the operation does not get to using the pipe.
            let ret = unsafe {
                let splice = (*(*dir.as_ptr()).f_op).splice_read.ok_or(EINVAL)?;
                splice(dir.as_ptr(), &mut pos, core::ptr::null_mut(), 10, 0)
            };
            assert_eq!(ret, EINVAL.to_errno() as isize);
            Ok(())
        })
    }

    #[test]
    fn nobody_looks_at_a_dead_super_block() -> Result {
        let registration = registration::<TestFs>()?;
        let mounted = Mounted::new(&registration, &options())?;
        let handle = mounted.super_block().handle();
        let held = handle.get().ok_or(ENOENT)?;
        let queue = OwnedQueue::new(Queues::TEST, c"kext_test", crate::workqueue::Flags::UNBOUND)?;
        queue.try_spawn(GFP_KERNEL, move || {
            kernel::time::delay::fsleep(kernel::time::Delta::from_millis(30));
            // The unmount waits for this.
            assert_eq!(held.data().size, 600_000);
            drop(get(&held, THE_LINK));
        })?;
        drop(mounted);
        assert!(handle.get().is_none());
        Ok(())
    }
}
