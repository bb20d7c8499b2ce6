// SPDX-License-Identifier: GPL-2.0
#include <linux/highmem.h>
#include <linux/task_io_accounting_ops.h>

__rust_helper void *rust_helper_alloc_inode_sb(struct super_block *sb, struct kmem_cache *cache,
					       gfp_t gfp)
{
	return alloc_inode_sb(sb, cache, gfp);
}

/* Who writes pages back while they are read into shall not take them for clean. */
__rust_helper void rust_helper_bvec_set_dirty(const struct bio_vec *bv, size_t count)
{
	for (; count; bv++, count--)
		if (!PageDirty(bv->bv_page))
			set_page_dirty_lock(bv->bv_page);
}

__rust_helper bool rust_helper_bvec_is_dirty(const struct bio_vec *bv, size_t count)
{
	for (; count; bv++, count--)
		if (!PageDirty(bv->bv_page))
			return false;
	return true;
}

/* To set pages dirty takes their locks. */
__rust_helper void rust_helper_bvec_unpin(const struct bio_vec *bv, size_t count, bool set_dirty)
{
	for (; count; bv++, count--) {
		flush_dcache_page(bv->bv_page);
		unpin_user_page_range_dirty_lock(bv->bv_page, 1, set_dirty);
	}
}

__rust_helper int rust_helper_d_in_lookup(const struct dentry *dentry)
{
	return d_in_lookup(dentry);
}

__rust_helper void rust_helper_d_lookup_done(struct dentry *dentry)
{
	d_lookup_done(dentry);
}

__rust_helper struct dentry *rust_helper_dget(struct dentry *dentry)
{
	return dget(dentry);
}

__rust_helper void rust_helper_file_accessed(struct file *file)
{
	file_accessed(file);
}

__rust_helper void rust_helper_inode_dio_begin(struct inode *inode)
{
	inode_dio_begin(inode);
}

__rust_helper void rust_helper_inode_dio_end(struct inode *inode)
{
	inode_dio_end(inode);
}

__rust_helper void rust_helper_iov_iter_truncate(struct iov_iter *iter, u64 count)
{
	iov_iter_truncate(iter, count);
}

__rust_helper void rust_helper_task_io_account_read(size_t bytes)
{
	task_io_account_read(bytes);
}

__rust_helper bool rust_helper_iov_iter_user_backed(const struct iov_iter *iter)
{
	return user_backed_iter(iter);
}

__rust_helper loff_t rust_helper_i_size_read(const struct inode *inode)
{
	return i_size_read(inode);
}

/* If not, what was written before unlock_new_inode() is seen. */
__rust_helper bool rust_helper_inode_is_new(struct inode *inode)
{
	bool is_new = inode_state_read_once(inode) & I_NEW;

	smp_rmb();
	return is_new;
}

/* Drops a reference that is not the last one. */
__rust_helper bool rust_helper_inode_put_not_last(struct inode *inode)
{
	return atomic_add_unless(&inode->i_count, -1, 1);
}

__rust_helper void rust_helper_inode_set_size(struct inode *inode, loff_t size)
{
	spin_lock(&inode->i_lock);
	i_size_write(inode, size);
	spin_unlock(&inode->i_lock);
}

__rust_helper loff_t rust_helper_folio_start(const struct folio *folio)
{
	return folio_pos(folio);
}

__rust_helper size_t rust_helper_folio_bytes(const struct folio *folio)
{
	return folio_size(folio);
}

__rust_helper struct address_space *rust_helper_folio_host(const struct folio *folio)
{
	return folio->mapping;
}

__rust_helper void rust_helper_folio_copy_from(struct folio *folio, size_t offset, const char *from,
					       size_t len)
{
	memcpy_to_folio(folio, offset, from, len);
}

__rust_helper void rust_helper_folio_zero_from(struct folio *folio, size_t offset)
{
	folio_zero_segment(folio, offset, folio_size(folio));
	flush_dcache_folio(folio);
}

__rust_helper void rust_helper_inode_set_sizes(struct inode *inode, loff_t size)
{
	spin_lock(&inode->i_lock);
	netfs_write_sizes(inode, size, size, LLONG_MAX);
	spin_unlock(&inode->i_lock);
}

__rust_helper bool rust_helper_llist_add(struct llist_node *new, struct llist_head *head)
{
	return llist_add(new, head);
}

__rust_helper struct llist_node *rust_helper_llist_del_all(struct llist_head *head)
{
	return llist_del_all(head);
}

__rust_helper void rust_helper_mapping_set_large_folios(struct address_space *mapping)
{
	mapping_set_large_folios(mapping);
}

__rust_helper void rust_helper_netfs_inode_init(struct netfs_inode *ctx,
						const struct netfs_request_ops *ops)
{
	netfs_inode_init(ctx, ops, false);
}

__rust_helper void rust_helper_netfs_wait_for_outstanding_io(struct inode *inode)
{
	netfs_wait_for_outstanding_io(inode);
}

__rust_helper bool rust_helper_netfs_has_outstanding_io(struct inode *inode)
{
	return atomic_read(&netfs_inode(inode)->io_count) != 0;
}

__rust_helper struct kmem_cache *rust_helper_inode_cache_create(const char *name,
								unsigned int size,
								unsigned int align,
								void (*ctor)(void *))
{
	struct kmem_cache_args args = { .align = align, .ctor = ctor };

	return kmem_cache_create(name, size, &args, SLAB_RECLAIM_ACCOUNT | SLAB_ACCOUNT);
}

__rust_helper void rust_helper_vfs_super_init(struct super_block *sb,
					      const struct super_operations *s_op,
					      const struct dentry_operations *d_op)
{
	sb->s_op = s_op;
	set_default_d_op(sb, d_op);
}

__rust_helper void rust_helper_fs_init_work(struct work_struct *work, work_func_t func)
{
	INIT_WORK(work, func);
}

__rust_helper void rust_helper_inode_set_times(struct inode *inode, struct timespec64 atime,
					       struct timespec64 mtime, struct timespec64 ctime)
{
	inode_set_atime_to_ts(inode, atime);
	inode_set_mtime_to_ts(inode, mtime);
	inode_set_ctime_to_ts(inode, ctime);
}

__rust_helper void rust_helper_inode_get_times(const struct inode *inode, struct timespec64 *atime,
					       struct timespec64 *mtime, struct timespec64 *ctime)
{
	*atime = inode_get_atime(inode);
	*mtime = inode_get_mtime(inode);
	*ctime = inode_get_ctime(inode);
}

__rust_helper bool rust_helper_dir_emit(struct dir_context *ctx, const char *name, int len, u64 ino,
					unsigned int type)
{
	return dir_emit(ctx, name, len, ino, type);
}

__rust_helper bool rust_helper_dir_emit_dots(struct file *file, struct dir_context *ctx)
{
	return dir_emit_dots(file, ctx);
}

__rust_helper struct dentry *rust_helper_super_root(struct super_block *sb)
{
	return smp_load_acquire(&sb->s_root);
}

__rust_helper void rust_helper_super_set_root(struct super_block *sb, struct dentry *root)
{
	smp_store_release(&sb->s_root, root);
	sb->s_flags |= SB_ACTIVE;
}

#if IS_ENABLED(CONFIG_KUNIT)
__rust_helper const struct cred *rust_helper_test_current_cred(void)
{
	return current_cred();
}

__rust_helper struct dentry *rust_helper_test_lookup(struct qstr *name, struct dentry *dir)
{
	return lookup_noperm_positive_unlocked(name, dir);
}

__rust_helper void rust_helper_test_lock_dentry(struct dentry *dentry)
{
	spin_lock(&dentry->d_lock);
}

__rust_helper void rust_helper_test_unlock_dentry(struct dentry *dentry)
{
	spin_unlock(&dentry->d_lock);
}

__rust_helper int rust_helper_test_dentry_count(const struct dentry *dentry)
{
	return d_count(dentry);
}

__rust_helper int rust_helper_vfs_parse_fs_cstr(struct fs_context *fc, const char *key,
						const char *value)
{
	return vfs_parse_fs_string(fc, key, value);
}
#endif

static void for_each_fs_key(struct file_system_type *fs_type, void (*f)(struct lock_class_key *))
{
	int i;

	f(&fs_type->s_lock_key);
	f(&fs_type->s_umount_key);
	f(&fs_type->s_vfs_rename_key);
	for (i = 0; i < SB_FREEZE_LEVELS; i++)
		f(&fs_type->s_writers_key[i]);
	f(&fs_type->i_lock_key);
	f(&fs_type->i_mutex_key);
	f(&fs_type->invalidate_lock_key);
	f(&fs_type->i_mutex_dir_key);
}

/* Lockdep wants to know of keys that are not in static memory. */
__rust_helper void rust_helper_fs_type_register_keys(struct file_system_type *fs_type)
{
	for_each_fs_key(fs_type, lockdep_register_key);
}

__rust_helper void rust_helper_fs_type_unregister_keys(struct file_system_type *fs_type)
{
	for_each_fs_key(fs_type, lockdep_unregister_key);
}

/*
 * Drops a reference that is not the last one. Never waits for d_lock, which the caller, or who
 * is interrupted by it, may hold.
 */
__rust_helper bool rust_helper_dentry_put_not_last(struct dentry *dentry)
{
	bool not_last;

	if (!spin_trylock(&dentry->d_lock))
		return false;
	not_last = dentry->d_lockref.count > 1;
	if (not_last)
		dentry->d_lockref.count--;
	spin_unlock(&dentry->d_lock);
	return not_last;
}

__rust_helper bool rust_helper_dentry_has_positive_child(struct dentry *dentry)
{
	struct dentry *child;
	bool found = false;

	spin_lock(&dentry->d_lock);
	hlist_for_each_entry(child, &dentry->d_children, d_sib) {
		if (d_really_is_positive(child)) {
			found = true;
			break;
		}
	}
	spin_unlock(&dentry->d_lock);
	return found;
}
