// SPDX-License-Identifier: GPL-2.0
#include <linux/filelock.h>

__rust_helper int rust_helper_file_lock_type(const struct file_lock *lock)
{
	return lock->c.flc_type;
}

__rust_helper bool rust_helper_file_lock_waits(const struct file_lock *lock)
{
	return lock->c.flc_flags & FL_SLEEP;
}
