// SPDX-License-Identifier: GPL-2.0
#include <linux/completion.h>
#include <linux/cred.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/ratelimit.h>
#include <linux/sched/signal.h>
#include <linux/utsname.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

__rust_helper bool rust_helper_current_fatal_signal_pending(void)
{
	return fatal_signal_pending(current);
}

__rust_helper bool rust_helper_task_fatal_signal_pending(struct task_struct *task)
{
	return fatal_signal_pending(task);
}

__rust_helper bool rust_helper_task_process_has_ended(struct task_struct *task)
{
	/* The signal struct stays as long as the task does. */
	return atomic_read(&task->signal->live) == 0;
}

__rust_helper void rust_helper_task_comm(char *buf, struct task_struct *task)
{
	strscpy_pad(buf, task->comm, TASK_COMM_LEN);
}

__rust_helper pid_t rust_helper_current_pid(void)
{
	return task_pid_nr(current);
}

__rust_helper u32 rust_helper_current_fs_uid(void)
{
	return from_kuid(&init_user_ns, current_fsuid());
}

__rust_helper u32 rust_helper_current_fs_gid(void)
{
	return from_kgid(&init_user_ns, current_fsgid());
}

__rust_helper bool rust_helper_current_group(u32 at, u32 *gid)
{
	struct group_info *groups = current_cred()->group_info;

	if (at >= groups->ngroups)
		return false;
	*gid = from_kgid(&init_user_ns, groups->gid[at]);
	return true;
}

__rust_helper pid_t rust_helper_current_tgid(void)
{
	return task_tgid_nr(current);
}

/*
 * Like wait_event_killable_timeout(), one round of it. The condition is checked
 * by the caller while the task runs, so it may sleep.
 */
__rust_helper void rust_helper_woken_wait_init(struct wait_queue_entry *entry)
{
	init_wait_func(entry, woken_wake_function);
}

__rust_helper struct workqueue_struct *rust_helper_workqueue_alloc(const char *name,
								   unsigned int flags,
								   int max_active)
{
	return alloc_workqueue("%s", flags, max_active, name);
}

__rust_helper bool rust_helper_work_is_pending(struct work_struct *work)
{
	return work_pending(work);
}

__rust_helper void rust_helper_ratelimit_default_init(struct ratelimit_state *rs)
{
	ratelimit_default_init(rs);
}

/* The strings have at most __NEW_UTS_LEN bytes and a NUL. */
__rust_helper void rust_helper_utsname_node(char *buf)
{
	/*
	 * uts_sem is not exported: a name that is being set may come out mixed.
	 * A task that is exiting has no namespaces any more.
	 */
	struct new_utsname *name = current->nsproxy ? utsname() : init_utsname();

	strscpy_pad(buf, name->nodename, __NEW_UTS_LEN + 1);
}

__rust_helper void rust_helper_utsname_release(char *buf)
{
	strscpy_pad(buf, init_utsname()->release, __NEW_UTS_LEN + 1);
}

#if IS_ENABLED(CONFIG_KUNIT)
/* A kernel thread can be killed only if it wants to. */
__rust_helper void rust_helper_test_kill_current(void)
{
	allow_kernel_signal(SIGKILL);
	send_sig(SIGKILL, current, 1);
}

__rust_helper void rust_helper_test_unkill_current(void)
{
	flush_signals(current);
	disallow_signal(SIGKILL);
}
#endif

/* The queues of all modules, until they are dropped or their module goes. */
static DEFINE_MUTEX(queue_registry_mutex);
static LIST_HEAD(queue_registry_list);

__rust_helper void rust_helper_queue_registry_lock(void)
{
	mutex_lock(&queue_registry_mutex);
}

__rust_helper void rust_helper_queue_registry_unlock(void)
{
	mutex_unlock(&queue_registry_mutex);
}

__rust_helper struct list_head *rust_helper_queue_registry(void)
{
	return &queue_registry_list;
}

__rust_helper void rust_helper_list_del_init(struct list_head *entry)
{
	list_del_init(entry);
}

__rust_helper void rust_helper_queue_lock_init(spinlock_t *lock)
{
	spin_lock_init(lock);
}

__rust_helper unsigned long rust_helper_queue_lock(spinlock_t *lock)
{
	unsigned long flags;

	spin_lock_irqsave(lock, flags);
	return flags;
}

__rust_helper void rust_helper_queue_unlock(spinlock_t *lock, unsigned long flags)
{
	spin_unlock_irqrestore(lock, flags);
}

__rust_helper bool rust_helper_address_within_module(unsigned long address, const struct module *mod)
{
	return within_module(address, mod);
}

#if IS_ENABLED(CONFIG_KUNIT)
static struct module test_modules[2];

/* A module that has all code that is near, and one that has none. */
__rust_helper struct module *rust_helper_test_module(bool has_code)
{
	struct module *mod = &test_modules[has_code];

	if (has_code) {
		mod->mem[MOD_TEXT].base = (void *)((unsigned long)&rust_helper_test_module - INT_MAX);
		mod->mem[MOD_TEXT].size = UINT_MAX;
	}
	return mod;
}
#endif
