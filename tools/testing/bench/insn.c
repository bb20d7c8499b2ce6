// SPDX-License-Identifier: GPL-2.0
/*
 * insn.so: a QEMU TCG plugin that counts the guest's instructions by place.
 *
 *     -plugin insn.so,map=FILE[,grain=SHIFT]
 *
 * Places are: user space, the kernel's text and the modules' text in cells of
 * 1 << SHIFT bytes (12: a page; 4: a function, for profiles), and the rest of the
 * kernel. Two instructions that do nothing, executed by a program in the guest, say
 * between which moments to count (work.c):
 *
 *     nopl 0x42454e01(%rax)   begin
 *     nopl 0x42454e02(%rax)   end: FILE gets the difference, and the count in its head
 *                             grows by one
 *
 * A count is exact to the length of a translation block. Debian has no
 * qemu-plugin.h, so what is used of the interface is declared here (version 3 of
 * it, QEMU 9.1 and later).
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_plugin_scoreboard;
typedef struct {
	struct qemu_plugin_scoreboard *score;
	size_t offset;
} qemu_plugin_u64;

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(struct qemu_plugin_tb *, int op,
						       qemu_plugin_u64, uint64_t imm);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *,
					    void (*)(unsigned int vcpu, void *), int flags, void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *, void *, size_t);
struct qemu_plugin_scoreboard *qemu_plugin_scoreboard_new(size_t);
uint64_t qemu_plugin_u64_sum(qemu_plugin_u64);

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = 3;

#define INLINE_ADD_U64 0
#define CB_NO_REGS 0

/* Of x86-64 without KASLR: the kernel's image, and the room for modules. */
#define TEXT 0xffffffff80000000ull
#define MODULES 0xffffffffc0000000ull
#define MODULES_SIZE (64ull << 20)
#define TEXT_SIZE (128ull << 20)

/* The file: head, then user, other, text cells, module cells. */
enum { HEAD_ENDS, HEAD_SHIFT, HEAD_TEXT_CELLS, HEAD_MODULE_CELLS, HEAD };
enum { USER, OTHER, FIRST };

static unsigned int shift = 12;
static size_t text_cells, module_cells, cells;
static struct qemu_plugin_scoreboard *score;
static uint64_t *begun;
static volatile uint64_t *map;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static size_t cell(uint64_t at)
{
	if (!(at >> 63))
		return USER;
	if (at >= TEXT && at < TEXT + TEXT_SIZE)
		return FIRST + ((at - TEXT) >> shift);
	if (at >= MODULES && at < MODULES + MODULES_SIZE)
		return FIRST + text_cells + ((at - MODULES) >> shift);
	return OTHER;
}

static uint64_t now(size_t i)
{
	return qemu_plugin_u64_sum((qemu_plugin_u64){score, i * sizeof(uint64_t)});
}

static void mark(unsigned int vcpu, void *end)
{
	(void)vcpu;
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < cells; i++) {
		uint64_t n = now(i);

		if (end)
			map[HEAD + i] = n - begun[i];
		else
			begun[i] = n;
	}
	if (end) {
		__sync_synchronize();
		map[HEAD_ENDS]++;
	}
	pthread_mutex_unlock(&lock);
}

static void translated(plugin_id id, struct qemu_plugin_tb *tb)
{
	uint64_t at = qemu_plugin_tb_vaddr(tb);
	size_t n = qemu_plugin_tb_n_insns(tb), i;

	(void)id;
	qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(
		tb, INLINE_ADD_U64, (qemu_plugin_u64){score, cell(at) * sizeof(uint64_t)}, n);
	if (at >> 63)
		return;
	for (i = 0; i < n; i++) {
		static const uint8_t magic[] = {0x0f, 0x1f, 0x80, 0, 0x4e, 0x45, 0x42};
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		uint8_t code[sizeof(magic)];

		if (qemu_plugin_insn_data(insn, code, sizeof(code)) != sizeof(code) ||
		    memcmp(code, magic, 3) || memcmp(code + 4, magic + 4, 3))
			continue;
		if (code[3] == 1 || code[3] == 2)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, mark, CB_NO_REGS,
							       code[3] == 2 ? score : NULL);
	}
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
	const char *name = "insn.map";
	size_t size;
	int fd;

	(void)info;
	for (int i = 0; i < argc; i++) {
		if (!strncmp(argv[i], "map=", 4))
			name = argv[i] + 4;
		else if (!strncmp(argv[i], "grain=", 6))
			shift = atoi(argv[i] + 6);
		else
			return 1;
	}
	text_cells = TEXT_SIZE >> shift;
	module_cells = MODULES_SIZE >> shift;
	cells = FIRST + text_cells + module_cells;
	size = (HEAD + cells) * sizeof(uint64_t);
	begun = calloc(cells, sizeof(uint64_t));
	fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0644);
	if (!begun || fd < 0 || ftruncate(fd, size))
		return 1;
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		return 1;
	map[HEAD_SHIFT] = shift;
	map[HEAD_TEXT_CELLS] = text_cells;
	map[HEAD_MODULE_CELLS] = module_cells;
	score = qemu_plugin_scoreboard_new(cells * sizeof(uint64_t));
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
