// SPDX-License-Identifier: GPL-2.0
#include <linux/sched/mm.h>

__rust_helper unsigned int rust_helper_scope_noio_save(void)
{
	return memalloc_noio_save();
}

__rust_helper void rust_helper_scope_noio_restore(unsigned int flags)
{
	memalloc_noio_restore(flags);
}

__rust_helper unsigned int rust_helper_scope_nofs_save(void)
{
	return memalloc_nofs_save();
}

__rust_helper void rust_helper_scope_nofs_restore(unsigned int flags)
{
	memalloc_nofs_restore(flags);
}
