// SPDX-License-Identifier: GPL-2.0
/*
 * The workloads of the benchmark, run in the guest. `work NAME ARGUMENT...` does what
 * is said below and prints the seconds it took and how many things it did. What the
 * plugin (insn.c) counts ends a moment later, so that work which the client has put
 * off is counted, too.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SETTLE_US 200000
#define MIB (1 << 20)

static struct timespec begun;

static void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

/* What begins and ends the count; see insn.c. */
static void begin(void)
{
	usleep(SETTLE_US);
	clock_gettime(CLOCK_MONOTONIC, &begun);
	asm volatile(".byte 0x0f, 0x1f, 0x80, 0x01, 0x4e, 0x45, 0x42" ::: "memory");
}

static void end(long things)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	usleep(SETTLE_US);
	asm volatile(".byte 0x0f, 0x1f, 0x80, 0x02, 0x4e, 0x45, 0x42" ::: "memory");
	printf("%.6f %ld\n", now.tv_sec - begun.tv_sec + (now.tv_nsec - begun.tv_nsec) / 1e9, things);
}

static int numbered(int dir, long i, int flags)
{
	char name[32];
	int fd;

	snprintf(name, sizeof(name), "file%06ld", i);
	fd = openat(dir, name, flags, 0644);
	if (fd < 0)
		die(name);
	return fd;
}

static int folder(const char *path)
{
	int dir = open(path, O_RDONLY | O_DIRECTORY);

	if (dir < 0)
		die(path);
	return dir;
}

/* fill DIR COUNT SIZE: COUNT files file000000... of SIZE bytes */
static void fill(const char *path, long count, long size)
{
	static char block[MIB];
	int dir, fd;
	long i, left;

	mkdir(path, 0755);
	dir = folder(path);
	for (i = 0; i < (long)sizeof(block); i++)
		block[i] = i * 2654435761u >> 13;
	for (i = 0; i < count; i++) {
		fd = numbered(dir, i, O_WRONLY | O_CREAT);
		for (left = size; left > 0; left -= MIB)
			if (write(fd, block, left < MIB ? left : MIB) < 0)
				die("write");
		close(fd);
	}
	sync();
}

/* mount SOURCE TARGET OPTIONS COUNT: mounts and unmounts */
static void mounts(const char *source, const char *target, const char *options, long count)
{
	begin();
	for (long i = 0; i < count; i++) {
		if (mount(source, target, "ceph", 0, options))
			die("mount");
		if (umount(target))
			die("umount");
	}
	end(count);
}

/* read FILE BLOCK 0|1: from beginning to end, with 1 by O_DIRECT */
static void sequential(const char *path, long block, long direct)
{
	char *buf;
	long n = 0;
	ssize_t r;
	int fd = open(path, O_RDONLY | (direct ? O_DIRECT : 0));

	if (fd < 0 || posix_memalign((void **)&buf, 4096, block))
		die(path);
	memset(buf, 1, block);
	begin();
	while ((r = read(fd, buf, block)) > 0)
		n += r;
	if (r < 0)
		die("read");
	end(n);
}

static uint32_t seed = 1;

static long position(long size)
{
	seed = seed * 1664525 + 1013904223;
	return (long)(seed >> 4) % (size / 4096) * 4096;
}

/* random FILE DEPTH COUNT 0|1: 4 KiB each, DEPTH at a time (more than 1 by libaio's
 * system calls), with 1 by O_DIRECT */
static void randomly(const char *path, long depth, long count, long direct)
{
	struct iocb cb[64], *cbs[64];
	struct io_event events[64];
	aio_context_t ctx = 0;
	struct stat st;
	char *buf;
	long i, begun_io = 0, done = 0, n;
	int fd = open(path, O_RDONLY | (direct ? O_DIRECT : 0));

	if (fd < 0 || fstat(fd, &st) || posix_memalign((void **)&buf, 4096, 4096 * 64) || depth > 64)
		die(path);
	memset(buf, 1, 4096 * 64);
	if (!direct)
		posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
	if (syscall(SYS_io_setup, 64, &ctx))
		die("io_setup");
	begin();
	if (depth == 1) {
		for (i = 0; i < count; i++)
			if (pread(fd, buf, 4096, position(st.st_size)) != 4096)
				die("pread");
		end(count);
		return;
	}
	for (i = 0; i < depth; i++) {
		memset(&cb[i], 0, sizeof(cb[i]));
		cb[i].aio_fildes = fd;
		cb[i].aio_lio_opcode = IOCB_CMD_PREAD;
		cb[i].aio_buf = (uintptr_t)(buf + i * 4096);
		cb[i].aio_nbytes = 4096;
		cb[i].aio_offset = position(st.st_size);
		cb[i].aio_data = i;
		cbs[i] = &cb[i];
	}
	if (syscall(SYS_io_submit, ctx, depth, cbs) != depth)
		die("io_submit");
	begun_io = depth;
	while (done < count) {
		n = syscall(SYS_io_getevents, ctx, 1, depth, events, NULL);
		if (n < 1)
			die("io_getevents");
		for (i = 0; i < n; i++) {
			struct iocb *c = &cb[events[i].data];

			if (events[i].res != 4096)
				die("aio");
			done++;
			if (begun_io < count) {
				c->aio_offset = position(st.st_size);
				if (syscall(SYS_io_submit, ctx, 1, &c) != 1)
					die("io_submit");
				begun_io++;
			}
		}
	}
	end(count);
}

static void stat_all(const char *path, long count)
{
	char name[4096];
	struct stat st;

	for (long i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "%s/file%06ld", path, i);
		if (stat(name, &st))
			die(name);
	}
}

static void open_all(const char *path, long count)
{
	char name[4096];
	int fd;

	for (long i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "%s/file%06ld", path, i);
		fd = open(name, O_RDONLY);
		if (fd < 0)
			die(name);
		close(fd);
	}
}

static long list(const char *path)
{
	DIR *d = opendir(path);
	long n = 0;

	if (!d)
		die(path);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* small DIR COUNT: reads each file whole */
static void small(const char *path, long count)
{
	static char buf[65536];
	int dir = folder(path), fd;

	begin();
	for (long i = 0; i < count; i++) {
		fd = numbered(dir, i, O_RDONLY);
		while (read(fd, buf, sizeof(buf)) > 0)
			;
		close(fd);
	}
	end(count);
}

static void statfs_all(const char *path, long count)
{
	struct statfs s;

	begin();
	for (long i = 0; i < count; i++)
		if (statfs(path, &s))
			die(path);
	end(count);
}

/* tcp ADDRESS PORT COUNT DEPTH ASK ANSWER: over a bare socket COUNT questions of ASK bytes,
 * DEPTH at a time, each of which is answered by ANSWER bytes (floor.py): what the network
 * alone costs for a row. */
static void tcp(const char *address, long port, long count, long depth, long ask, long answer)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
	int s = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	uint64_t head[3] = { count, ask, answer };
	long asked = 0, got = 0;
	char *buf = calloc(1, MIB);

	inet_pton(AF_INET, address, &to.sin_addr);
	if (!buf || ask > MIB || connect(s, (struct sockaddr *)&to, sizeof(to)) ||
	    setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) ||
	    write(s, head, sizeof(head)) != sizeof(head))
		die(address);
	begin();
	while (got < count * answer) {
		long due = got / answer + depth, left = count * answer - got;
		ssize_t r;

		for (; asked < count && asked < due; asked++)
			if (write(s, buf, ask) != ask)
				die("write");
		r = read(s, buf, left < MIB ? left : MIB);
		if (r <= 0)
			die("read");
		got += r;
	}
	end(count);
	close(s);
}

/* idle: nothing, for what goes on anyway */
static void idle(void)
{
	begin();
	end(0);
}

/* run WARM COMMAND...: with 1 once before */
static void run(long warm, char **argv)
{
	for (; warm >= 0; warm--) {
		int status;
		pid_t pid;

		if (!warm)
			begin();
		pid = fork();
		if (!pid) {
			int null = open("/dev/null", O_WRONLY);

			dup2(null, 1);
			execvp(argv[0], argv);
			die(argv[0]);
		}
		if (waitpid(pid, &status, 0) != pid || status)
			die(argv[0]);
	}
	end(1);
}

/* stat|open|list WARM DIR COUNT */
static void names(const char *what, long warm, const char *path, long count)
{
	long n = count;

	for (; warm >= 0; warm--) {
		if (!warm)
			begin();
		if (!strcmp(what, "stat"))
			stat_all(path, count);
		else if (!strcmp(what, "open"))
			open_all(path, count);
		else
			n = list(path);
	}
	end(n);
}

int main(int argc, char **argv)
{
	const char *w = argc > 1 ? argv[1] : "";

	if (!strcmp(w, "fill") && argc == 5)
		fill(argv[2], atol(argv[3]), atol(argv[4]));
	else if (!strcmp(w, "mount") && argc == 6)
		mounts(argv[2], argv[3], argv[4], atol(argv[5]));
	else if (!strcmp(w, "read") && argc == 5)
		sequential(argv[2], atol(argv[3]), atol(argv[4]));
	else if (!strcmp(w, "random") && argc == 6)
		randomly(argv[2], atol(argv[3]), atol(argv[4]), atol(argv[5]));
	else if ((!strcmp(w, "stat") || !strcmp(w, "open") || !strcmp(w, "list")) && argc == 5)
		names(w, atol(argv[2]), argv[3], atol(argv[4]));
	else if (!strcmp(w, "statfs") && argc == 4)
		statfs_all(argv[2], atol(argv[3]));
	else if (!strcmp(w, "small") && argc == 4)
		small(argv[2], atol(argv[3]));
	else if (!strcmp(w, "tcp") && argc == 8)
		tcp(argv[2], atol(argv[3]), atol(argv[4]), atol(argv[5]), atol(argv[6]), atol(argv[7]));
	else if (!strcmp(w, "idle") && argc == 2)
		idle();
	else if (!strcmp(w, "run") && argc > 3)
		run(atol(argv[2]), argv + 3);
	else
		return 2;
	return 0;
}
