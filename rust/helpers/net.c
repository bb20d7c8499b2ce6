// SPDX-License-Identifier: GPL-2.0
#include <net/sock.h>
#include <net/net_namespace.h>
#include <linux/nsproxy.h>

/*
 * Exchanges the callbacks of @sk and what they are given. When this returns, no
 * callback between sock_hooks_begin() and sock_hooks_end() uses the old ones.
 */
__rust_helper void rust_helper_sock_swap_hooks(struct sock *sk, void *user_data,
					       void (**data_ready)(struct sock *),
					       void (**write_space)(struct sock *),
					       void (**state_change)(struct sock *))
{
	write_lock_bh(&sk->sk_callback_lock);
	sk->sk_user_data = user_data;
	swap(sk->sk_data_ready, *data_ready);
	swap(sk->sk_write_space, *write_space);
	swap(sk->sk_state_change, *state_change);
	write_unlock_bh(&sk->sk_callback_lock);
}

__rust_helper void *rust_helper_sock_hooks_begin(struct sock *sk)
{
	read_lock_bh(&sk->sk_callback_lock);
	return sk->sk_user_data;
}

__rust_helper void rust_helper_sock_hooks_end(struct sock *sk)
{
	read_unlock_bh(&sk->sk_callback_lock);
}

/*
 * The socket serves write-back: its allocations must not start I/O, and they
 * must not use the task's page fragment, which may be in use when reclaim gets
 * here.
 */
__rust_helper void rust_helper_sock_prepare_for_reclaim(struct sock *sk)
{
	sk->sk_allocation = GFP_NOIO;
	sk->sk_use_task_frag = false;
}

__rust_helper void rust_helper_sock_lock(struct sock *sk)
{
	lock_sock(sk);
}

__rust_helper bool rust_helper_sock_take_nospace(struct sock *sk)
{
	if (!sk_stream_is_writeable(sk))
		return false;
	clear_bit(SOCK_NOSPACE, &sk->sk_socket->flags);
	return true;
}

__rust_helper int rust_helper_sock_take_error(struct sock *sk)
{
	return sock_error(sk);
}

/*
 * Bit 0: nothing comes after what is in the queue; bit 1: there is something in it. In this
 * order, so that what the peer sent before it closed is not missed.
 */
__rust_helper unsigned int rust_helper_sock_ready(struct sock *sk)
{
	unsigned int ready = 0;

	if ((READ_ONCE(sk->sk_shutdown) & RCV_SHUTDOWN) || sock_flag(sk, SOCK_DONE) ||
	    inet_sk_state_load(sk) == TCP_CLOSE)
		ready = 1;
	smp_rmb();
	if (!skb_queue_empty_lockless(&sk->sk_receive_queue))
		ready |= 2;
	return ready;
}

__rust_helper int rust_helper_sock_state(struct sock *sk)
{
	return inet_sk_state_load(sk);
}

__rust_helper struct net *rust_helper_net_get(struct net *net)
{
	return get_net(net);
}

__rust_helper void rust_helper_net_put(struct net *net)
{
	put_net(net);
}

/* A task that is exiting has no namespaces any more. */
__rust_helper struct net *rust_helper_net_current(void)
{
	return current->nsproxy ? current->nsproxy->net_ns : &init_net;
}
