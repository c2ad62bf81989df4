/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_BASE_H
#define VMSHARE_BASE_H

/*
 * What at least three folders share, and nothing else: messages, numbers as
 * people write them, iovec cursors, the descriptor chain that vhostuser/ hands
 * to fsserver/, the arena of state that outlives a worker process, and counts
 * that other processes read.
 *
 * Error convention, here and in every folder: 0 (or a count) for success,
 * -errno for failure, and nothing is printed, unless a comment says otherwise.
 */

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

#include <linux/limits.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))

/* ---- log: messages for people, on stderr only --------------------------- */

enum log_level {
	LOG_LEVEL_ERROR,	/* something ends because of it */
	LOG_LEVEL_WARNING,	/* the user will notice its effect later */
	LOG_LEVEL_NOTE,		/* printed once; hidden by -q */
	LOG_LEVEL_INFO,		/* -v */
	LOG_LEVEL_DEBUG,	/* -vv */
};

/**
 * log_setup() - choose what is printed and how
 * @max:	least important level that is still printed
 * @journal:	prefix lines with systemd's "<N>" priorities
 *
 * Call before threads start. @max is LOG_LEVEL_NOTE until then.
 */
void log_setup(enum log_level max, bool journal);

/**
 * log_syslog() - send every message to a syslog daemon instead of stderr
 * @sock:	connected datagram socket, non-blocking: a message is lost
 *		rather than waited for
 */
void log_syslog(int sock);
/* log_syslog() for a process that does not use its stderr. 0 or -errno. */
int log_settle(void);

/** log_name() - put "name: " after the level, e.g. "share 'src'" (kept) */
void log_name(const char *name);

bool log_enabled(enum log_level level);

/*
 * One line each, "vmshare: error: ...". @fmt has no full stop and no newline.
 * errno is preserved. A hint follows its error and says how to mend it.
 */
void log_error(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_warning(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_note(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_info(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_debug(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_hint(const char *fmt, ...) PRINTF_LIKE(1, 2);

/**
 * log_escape() - escape bytes that a guest chose, for a terminal
 * @dst, @size:	where the NUL-terminated text goes; cut with "..." to fit
 * @src, @len:	the bytes
 *
 * Return: @dst, for use as an argument.
 */
char *log_escape(char *dst, size_t size, const void *src, size_t len);

/* At most @burst messages, then one each @seconds; zero-initialise the rest. */
struct log_limit {
	unsigned int burst;
	unsigned int seconds;
	unsigned int said;	/* atomic */
	int64_t last;		/* atomic, CLOCK_MONOTONIC seconds */
};

bool log_allowed(struct log_limit *limit);

/* ---- parse: numbers as people write them -------------------------------- */

/* Each returns 0, -EINVAL for bad syntax, -ERANGE for a value out of range. */
int parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *value);
/* "512M", "1.5G", "4096": binary K M G T, optional "iB" or "B"; bytes. */
int parse_size(const char *text, uint64_t *bytes);
/* "10", "10s", "2m", "1h", "250ms"; milliseconds. */
int parse_duration(const char *text, uint64_t *ms);
/* yes/no, on/off, true/false, 1/0. */
int parse_bool(const char *text, bool *value);
/* Up to @max ids with ':' between them; how many there are, or -EINVAL. */
int parse_ids(const char *text, unsigned int max, uint32_t *ids);

/* What becomes of a range of ids; the first of a map that fits decides. */
enum id_kind {
	ID_RANGE,		/* each other; no id has another place */
	ID_MAP,			/* each other */
	ID_GUEST,		/* the guest's become the host's */
	ID_HOST,		/* the host's become the guest's */
	ID_SQUASH_GUEST,	/* the guest's all become @host */
	ID_SQUASH_HOST,		/* the host's all become @guest */
	ID_FORBID_GUEST,	/* the guest's are EPERM */
};

struct id_range {
	uint32_t guest, host, count;
	enum id_kind kind;
};

#define ID_RANGES_MAX 16

struct id_map {
	unsigned int nr;
	struct id_range range[ID_RANGES_MAX];
};

/**
 * parse_id_range() - "[KIND:]FROM:TO:COUNT", "forbid-guest:FROM:COUNT"
 *
 * The words for kinds are virtiofsd's; without one it is an ID_RANGE, from the
 * guest to the host. Return: 0 or -EINVAL.
 */
int parse_id_range(const char *text, struct id_range *range);

/* A rule for the names of extended attributes; see xattrmap.c. */
enum xattr_type { XATTR_OK, XATTR_BAD, XATTR_UNSUPPORTED, XATTR_PREFIX };

struct xattr_rule {
	enum xattr_type type;
	bool client, server;
	char key[XATTR_NAME_MAX + 1], prepend[XATTR_NAME_MAX + 1];
};

/* Whether a list of rules can be read, and has any: 0 or -EINVAL. */
int parse_xattr_map(const char *map);
/*
 * The next rule of @text, which is moved past it. @step, 0 at first, counts
 * the rules that "map" stands for. Return: 1 with a rule, 0 at the end,
 * -EINVAL.
 */
int xattr_rule_next(const char **text, unsigned int *step,
		    struct xattr_rule *r);

/** format_size() - "2 GiB", "1.9 GiB", "640 KiB" into @buf, which it returns */
char *format_size(char *buf, size_t size, uint64_t bytes);

/**
 * parse_nearest() - the candidate closest to a mistyped word
 * @word:	what was typed
 * @names:	candidates, ended by NULL
 *
 * Return: a candidate within a third of the word's length, or NULL.
 */
const char *parse_nearest(const char *word, const char *const *names);

/* ---- iov: a cursor over scattered memory -------------------------------- */

/*
 * The iovecs are not changed. The code that built them bounded all lengths, so
 * that their sum fits in size_t.
 */
struct iov_cursor {
	const struct iovec *iov;
	unsigned int cnt;
	size_t off;		/* within iov[0] */
};

static inline void iov_init(struct iov_cursor *c, const struct iovec *iov,
			    unsigned int cnt)
{
	c->iov = iov;
	c->cnt = cnt;
	c->off = 0;
}

size_t iov_total(const struct iovec *iov, unsigned int cnt);
/* Each moves the cursor and returns the bytes moved: short at the end. */
size_t iov_read(struct iov_cursor *c, void *dst, size_t len);
size_t iov_write(struct iov_cursor *c, const void *src, size_t len);
size_t iov_skip(struct iov_cursor *c, size_t len);
/**
 * iov_slice() - the next @len bytes as iovecs for preadv2() and its like
 * @c:		moved past what was taken
 * @len:	bytes wanted
 * @out, @max:	room for the result
 *
 * Return: iovecs filled; their total is less than @len where the cursor
 * ended or @max was reached.
 */
unsigned int iov_slice(struct iov_cursor *c, size_t len, struct iovec *out,
		       unsigned int max);

/* ---- chain: one request of a guest, as both folders see it -------------- */

/* A virtqueue has at most 1024 descriptors here (QEMU's VIRTQUEUE_MAX_SIZE);
 * a descriptor that spans two memory regions takes two iovecs. */
#define CHAIN_MAX_DESC	1024
#define CHAIN_MAX_IOV	(CHAIN_MAX_DESC + 16)
/* Queue 0 is the high priority queue (FORGET), 1.. are request queues. */
#define CHAIN_MAX_QUEUES 65
/*
 * A lane is a set of queues from which one thread at a time, its leader, takes
 * chains: lane 0 is queues 0 and 1, lane n is queue n + 1. FORGETs have no
 * reply and come soon after other requests: waking a thread for them alone
 * would cost more than most of them take.
 */
#define CHAIN_LANE(queue)	((queue) ? (queue) - 1 : 0)
#define CHAIN_LANES(queues)	((queues) > 1 ? (queues) - 1 : (queues))

/*
 * A popped descriptor chain. The iovecs point into guest memory: the guest
 * can change what is there at any time, so copy once and check the copy.
 * They stay mapped until the chain is pushed.
 */
struct chain {
	struct iovec *iov;	/* consumer's array of CHAIN_MAX_IOV entries */
	unsigned int nr_readable; /* iov[0..): written by the driver */
	unsigned int nr_writable; /* behind those: written by the device */
	size_t readable;	/* bytes in each part */
	size_t writable;
	uint16_t queue;
	uint16_t head;		/* index of its first descriptor */
	uint32_t epoch;		/* ring set-up this chain belongs to */
	void *map;		/* memory map reference, owned by the ring */
	uint16_t nr_desc;	/* ring slots that it holds */
	bool again;		/* an earlier worker had taken it too */
};

static inline const struct iovec *chain_writable(const struct chain *c)
{
	return c->iov + c->nr_readable;
}

/*
 * What vhostuser/ offers to the consumer of chains. @ctx is vhostuser's.
 *
 * Only the lane's leader calls wait, pop and pending; the consumer guarantees
 * that there is one leader at a time. Any thread may call push and flush.
 */
struct chain_ops {
	/**
	 * wait() - sleep until a queue of the lane may hold a chain
	 *
	 * Publishes and signals what was pushed (flush), enables the driver's
	 * notifications, checks the rings once more, and only then sleeps.
	 *
	 * Return: 0 when there may be one, -ESHUTDOWN when the lane is being
	 * stopped (the leader must then give up the lane).
	 */
	int (*wait)(void *ctx, unsigned int lane);
	/**
	 * pop() - take the next chain
	 * @c:	iov set by the caller, the rest filled in
	 *
	 * Return: 1 with a chain, 0 when the rings are empty or the guest broke
	 * them; -ESHUTDOWN when the lane is stopped.
	 */
	int (*pop)(void *ctx, unsigned int lane, struct chain *c);
	/* Chains that wait in the rings, as of the last check. */
	unsigned int (*pending)(void *ctx, unsigned int lane);
	/* Entries of a ring (its size); may be NULL. Any thread. */
	unsigned int (*size)(void *ctx, unsigned int queue);
	/**
	 * push() - give a chain back with @len bytes written
	 *
	 * The guest sees it at the next flush of its lane at the latest; the
	 * ring publishes earlier where a batch is full.
	 */
	void (*push)(void *ctx, struct chain *c, uint32_t len);
	/* Publish all pushed chains of a lane; signal if the guest asked. */
	void (*flush)(void *ctx, unsigned int lane);
};

/*
 * What the consumer offers to vhostuser/, whose connection thread calls it.
 * @ctx is the consumer's.
 */
struct chain_consumer {
	/* A queue of the lane runs: have a thread lead it. 0 or -errno. */
	int (*start)(void *ctx, unsigned int lane);
	/*
	 * Return once no thread will call wait or pop for the lane again
	 * until the next start. Requests that were popped may still run and
	 * push later. The caller makes wait return before it calls this.
	 */
	void (*stop)(void *ctx, unsigned int lane);
	/*
	 * The device was reset or the front end is gone: end waits for locks,
	 * and drop the guest's nodes, handles and locks.
	 */
	void (*reset)(void *ctx);
};

/* ---- arena: state that outlives a worker -------------------------------- */

/*
 * A memfd mapped MAP_SHARED, divided into regions that are found by id.
 * A keeper creates it and clones workers, which have it at the same address; an
 * upgraded binary attaches it by descriptor, at another address. So it contains
 * no pointers, and no lock words.
 */

/*
 * A structure in the arena is read by later builds: when it changes, the
 * version of its region does. This finds a change of size while compiling;
 * tests/lint/layouts finds the others.
 */
#define ARENA_LAYOUT(version, type, size)       \
	_Static_assert(sizeof(type) == (size),  \
		       #type " changed: raise " #version)

enum arena_id {
	ARENA_NODES = 1,	/* fsserver: node slots */
	ARENA_NAMES,		/* fsserver: names of nodes */
	ARENA_HANDLES,		/* fsserver: open files and directories */
	ARENA_LOCKS,		/* fsserver: lock owners' descriptors */
	ARENA_SESSION,		/* fsserver: what INIT agreed on, counters */
	ARENA_JOURNAL,		/* fsserver: intents and results */
	ARENA_STATS,		/* fsserver: counts and latencies by opcode */
	ARENA_DEVICE,		/* vhostuser: features, regions, fds, rings */
	ARENA_RINGS,		/* vhostuser: chains taken, done, published */
	ARENA_SERVER,		/* server.c: the connection */
	ARENA_FILE_HANDLES,	/* fsserver: handles of nodes' files */
	ARENA_MAX = 16,
};

struct arena;

/* @size bytes of address space; memory is used only where it is touched. */
int arena_create(struct arena **arena, uint64_t size);
int arena_attach(struct arena **arena, int fd);
void arena_close(struct arena *arena);	/* unmaps; NULL is fine */
int arena_fd(const struct arena *arena);

/**
 * arena_region() - find a region, or make it, zero-filled
 * @id:		the region
 * @version:	layout of its contents; a mismatch is -EPROTO
 * @size:	bytes; ignored (and set) where the region exists; 0: do not
 *		make it (-ENOENT)
 * @fresh:	set to whether it was made just now; may be NULL
 *
 * Return: 0 with *@mem, -ENOSPC when the arena is full, -EPROTO.
 * Not thread-safe: regions are made at start.
 */
int arena_region(struct arena *arena, enum arena_id id, uint32_t version,
		 uint64_t *size, void **mem, bool *fresh);

/*
 * Orders stores for a worker that reads the arena after this thread was killed.
 * The processor retires a thread's stores in order, so that a fence for the
 * compiler is enough.
 */
static inline void arena_commit(void)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/** arena_release() - give whole pages of [@mem, @mem + @len) back, zeroed */
void arena_release(struct arena *arena, void *mem, uint64_t len);

/* ---- pages: zeroed memory that is used only where it is touched --------- */

/*
 * For tables that are mostly empty. calloc() clears memory that it takes from
 * the heap, and so touches all of it.
 */
void *pages_alloc(size_t size);	/* NULL: no memory, or no address space */
void pages_free(void *mem, size_t size);	/* NULL is fine */

/* ---- stats: counts that other processes may read at any time ------------ */

#define STATS_OPS	64	/* by the consumer's opcodes; 0: all others */
#define STATS_BUCKETS	40	/* [n]: from 2^n up to 2^(n+1) - 1 ns */
#define STATS_SLOTS	128

struct stats_op {
	uint64_t count, failed;
	uint64_t bytes;		/* of requests and replies */
	uint64_t bucket[STATS_BUCKETS];
};

enum stats_counter {
	STATS_WAKES,		/* checks of a ring that found requests */
	STATS_HITS,		/* a needed descriptor was open */
	STATS_MISSES,		/* a needed descriptor had to be opened */
	STATS_COUNTERS,
};

enum stats_gauge {
	STATS_NODES,		/* files that the guest knows */
	STATS_HELD,		/* descriptors of files that it has open */
	STATS_CACHED,		/* descriptors of other files */
	STATS_BUDGET,		/* limit of both together */
	STATS_THREADS,
	STATS_GAUGES,
};

/* One thread's: only it writes here. Threads without a slot share slot 0. */
struct stats_slot {
	int64_t began;		/* CLOCK_MONOTONIC ns; 0: no request runs */
	uint64_t counter[STATS_COUNTERS];
	struct stats_op op[STATS_OPS];
} __attribute__((aligned(64)));

/*
 * A mapped memfd; a worker's successor goes on counting in it. A reader in
 * another process trusts nothing in it: any number may be wrong.
 */
struct stats {
	uint32_t version;
	uint32_t asked;		/* futex: dumps that were asked for */
	uint32_t used;		/* slots ever taken, counted from the last */
	uint32_t restarted;	/* live upgrades that succeeded */
	uint32_t refused;	/* live upgrades that failed */
	char why[256];		/* why the last one failed; a string */
	uint32_t answered;	/* written by the server: @asked, at its dump */
	uint64_t gauge[STATS_GAUGES];
	struct stats_slot slot[STATS_SLOTS];
};

ARENA_LAYOUT(STATS_VERSION, struct stats, 2826560);

#define STATS_VERSION	3

/**
 * stats_create() - a memfd with all counts at 0
 * @name:	of the memfd: how a reader finds it in /proc/PID/fd
 * @stats:	set to its mapping; undone by stats_close()
 *
 * Return: the descriptor (CLOEXEC), the caller's to keep open, or -errno.
 */
int stats_create(const char *name, struct stats **stats);
/* Map another process's, read-only: 0, -EPROTO for another version, -errno. */
int stats_attach(int fd, const struct stats **stats);
/* The same, writable, for a server that takes over from another. */
int stats_adopt(int fd, struct stats **stats);
void stats_close(const struct stats *stats);	/* NULL is fine */
/* Wake the server's thread that waits for stats_ask(), without a dump. */
void stats_wake(struct stats *stats);
/* Have the server describe what it is doing, on its stderr. */
void stats_ask(struct stats *stats);
/* Record a live upgrade: @why NULL for success, else why it failed. */
void stats_tell(struct stats *stats, const char *why);

/* The first slot that was ever taken; those before it were never touched. */
unsigned int stats_first(const struct stats *stats);
/**
 * stats_take() - a slot for a new writer
 * @taken:	slots that have a writer; the caller's lock protects it
 *
 * Return: it, marked in @taken; slot 0 where all are taken.
 */
struct stats_slot *stats_take(struct stats *stats, bool taken[STATS_SLOTS]);

/* Plain loads and stores for the one writer of a slot; @shared: several. */
static inline void stats_add(uint64_t *n, uint64_t by, bool shared)
{
	if (shared)
		__atomic_fetch_add(n, by, __ATOMIC_RELAXED);
	else
		__atomic_store_n(n, __atomic_load_n(n, __ATOMIC_RELAXED) + by,
				 __ATOMIC_RELAXED);
}

static inline unsigned int stats_bucket(int64_t ns)
{
	unsigned int n = ns > 1 ? 63u - (unsigned int)
				  __builtin_clzll((unsigned long long)ns) : 0;

	return n < STATS_BUCKETS ? n : STATS_BUCKETS - 1;
}

/* Add up the slots into @sum; its `began` is that of the oldest request. */
void stats_sum(const struct stats *stats, struct stats_slot *sum,
	       unsigned int *running);
/**
 * stats_percentile() - how long @permille of an operation's requests took
 *
 * Return: ns, interpolated within a bucket; 0 where there were none.
 */
uint64_t stats_percentile(const struct stats_op *op, unsigned int permille);

/* ---- the clock: CLOCK_MONOTONIC ------------------------------------------ */

static inline int64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static inline int64_t clock_ms(void)
{
	return clock_ns() / 1000000;
}

/* ---- system calls that a kernel or a C library may lack ----------------- */

/* These numbers are the same on every architecture; old headers lack them. */
#ifndef SYS_close_range
#define SYS_close_range 436			/* Linux 5.9 */
#endif
#ifndef SYS_openat2
#define SYS_openat2 437				/* 5.6 */
#endif
#ifndef SYS_faccessat2
#define SYS_faccessat2 439			/* 5.8 */
#endif
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442			/* 5.12 */
#endif
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444		/* 5.13 */
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif

/* Arguments that some headers lack; the same on every architecture. */
#define SYS_P_PIDFD		((idtype_t)3)	/* waitid(): Linux 5.4 */
#define SYS_CLOSE_CLOEXEC	(1u << 2)	/* close_range(): 5.11 */

/**
 * sys_close_range() - close descriptors, or have an exec close them
 * @first, @last:	both included; INT_MAX for all
 * @cloexec:		mark them close-on-exec instead
 *
 * close_range(2), or one descriptor after the other on kernels before 5.9
 * (5.11 with @cloexec). Return: 0 or -errno.
 */
int sys_close_range(int first, int last, bool cloexec);

#ifndef RESOLVE_BENEATH
#define RESOLVE_NO_MAGICLINKS	0x02
#define RESOLVE_NO_SYMLINKS	0x04
#define RESOLVE_BENEATH		0x08
#endif
/* openat2(2): a descriptor or -errno, -ENOSYS on kernels before 5.6. */
int sys_openat2(int dirfd, const char *name, int flags, mode_t mode,
		uint64_t resolve);

/*
 * raise(3), also in a process made by a bare clone(2), where musl would use the
 * parent's thread id, which it caches. Safe in a signal handler.
 */
void sys_raise(int sig);

/* Wait until a child has ended, and reap it: how it ended. */
siginfo_t sys_await(int pidfd);

#endif
