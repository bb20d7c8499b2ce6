// SPDX-License-Identifier: GPL-2.0
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>

__rust_helper struct posix_acl *rust_helper_acl_from_xattr(const void *value, size_t size)
{
	return posix_acl_from_xattr(&init_user_ns, value, size);
}

__rust_helper void rust_helper_acl_release(struct posix_acl *acl)
{
	posix_acl_release(acl);
}

__rust_helper void rust_helper_acl_forget_all(struct inode *inode)
{
	forget_all_cached_acls(inode);
}

/* Not cache_no_acl(): others may have the inode. */
__rust_helper void rust_helper_acl_set_none(struct inode *inode)
{
	set_cached_acl(inode, ACL_TYPE_ACCESS, NULL);
	set_cached_acl(inode, ACL_TYPE_DEFAULT, NULL);
}
