/* rooms: base memback guest launch */
/* SPDX-License-Identifier: MIT */
/*
 * Configuration: flags, files, shares and nodes, and each message that a wrong
 * one gets.
 */
#include "launch/config/config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launch/config/options.h"
#include "tests/c/launch_rig.h"

#define MIB	  (UINT64_C(1) << 20)
#define FOUR_MAPS ",uid-map=0:0:1,uid-map=1:1:1,uid-map=2:2:1,uid-map=3:3:1"

#define REFUSED(line, text)                                                    \
	do {                                                                   \
		CHECK_EQ(parse(line), -EINVAL);                                \
		if (!strstr(said, text))                                       \
			printf("# said: %s", said);                            \
		CHECK(strstr(said, text));                                     \
	} while (0)

/* ---- flags -------------------------------------------------------------- */

static void defaults(void)
{
	CHECK_EQ(parse("run disk.img"), 0);
	CHECK_EQ(c.memory, 1024 * MIB);
	CHECK_EQ(c.mem.type, MEM_MEMFD);
	CHECK_EQ(c.nr_nodes, 1);
	CHECK_EQ(c.nodes[0].memory, 1024 * MIB);
	CHECK(!c.numa);
	CHECK(c.cpus >= 1 && c.cpus <= 4);
	CHECK_EQ(c.nr_disks, 1);
	CHECK_STR(c.disks[0].path, "disk.img");
	CHECK_STR(c.net, "user");
	CHECK_STR(c.console, "stdio");
	CHECK_STR(c.accel, "auto");
	CHECK(!c.own_init && !c.has_root_share);
	CHECK_EQ(c.timeout_ms, 0);
	CHECK_EQ(c.status_fd, -1);
	CHECK(!c.guest_argv);
}

/* A guest that writes to a disk has longer to unmount it. */
static void time_to_end(void)
{
	CHECK_EQ(parse("run disk.img"), 0);
	CHECK(config_writes_disk(&c));
	CHECK_EQ(c.shutdown_timeout_ms, 90000);
	CHECK_EQ(parse("run --ephemeral disk.img"), 0);
	CHECK_EQ(c.shutdown_timeout_ms, 10000);
	CHECK_EQ(parse("run --read-only disk.img"), 0);
	CHECK_EQ(c.shutdown_timeout_ms, 10000);
	CHECK_EQ(parse("run -- true"), 0);
	CHECK(!config_writes_disk(&c));
	CHECK_EQ(c.shutdown_timeout_ms, 10000);
	CHECK_EQ(parse("run --shutdown-timeout 0s disk.img"), 0);
	CHECK_EQ(c.shutdown_timeout_ms, 0);
}

static void spellings(void)
{
	CHECK_EQ(parse("run -m2G --cpus=2 -p 3 --timeout 90s -vv -n d1 d2 "
		       "--ephemeral"),
		 0);
	CHECK_EQ(c.memory, 2048 * MIB);
	CHECK_EQ(c.cpus, 3);
	CHECK_EQ(c.timeout_ms, 90000);
	CHECK_EQ(c.verbose, 2);
	CHECK(c.dry_run && c.ephemeral);
	CHECK_EQ(c.nr_disks, 2);
	CHECK_EQ(parse("run --ephemeral=no --qemu-arg -device --qemu-arg x d"),
		 0);
	CHECK(!c.ephemeral);
	CHECK_EQ(c.nr_qemu_args, 2);
	CHECK_STR(c.qemu_args[0], "-device");
}

static void command_of_the_guest(void)
{
	CHECK_EQ(parse("run --share .:src -- sh -c exit%7"), 0);
	CHECK(c.own_init && c.has_root_share);
	CHECK_STR(c.guest_argv[0], "sh");
	CHECK_STR(c.guest_argv[2], "exit 7");
	CHECK(!c.guest_argv[3]);
	CHECK_STR(c.net, "none");
	CHECK_STR(c.root, "/");
	CHECK(c.root_share.ro && !c.root_share.submounts);
	CHECK_STR(c.root_share.tag, CONFIG_ROOT_TAG);
	setenv("VMSHARE_TEST", "a b", 1);
	CHECK_EQ(parse("run --env VMSHARE_TEST --env A=b --user nobody"), 0);
	CHECK_EQ(c.nr_env, 2);
	CHECK_STR(c.env[0], "VMSHARE_TEST=a b");
	CHECK(!c.env[2]);
	CHECK(!c.guest_argv);
	CHECK_EQ(parse("run --kernel k disk.img -- true"), 0);
	CHECK(c.own_init && !c.has_root_share);
	REFUSED("run disk.img -- true", "disk.img boots by itself, so vmshare "
					"can't run 'true' in it");
	REFUSED("run --initrd i --kernel k -- true", "exclude each other");
	REFUSED("run -n -- true", "--dry-run: this guest boots from memory "
				  "that only a run makes");
	REFUSED("run --user x disk.img", "--user: only for a guest that "
					 "vmshare's own init boots");
	REFUSED("run --root-rw", "--root-rw: the guest could write to the "
				 "whole host");
	REFUSED("run --root /. --root-rw", "--root-rw: the guest could write "
		"to the whole host");
}

static void forwards(void)
{
	CHECK_EQ(parse("run d -f tcp:2222:22 -f udp:0.0.0.0:53:5353"), 0);
	CHECK_EQ(c.nr_forwards, 2);
	CHECK_STR(c.forwards[0].addr, "127.0.0.1");
	CHECK_EQ(c.forwards[0].host, 2222);
	CHECK_EQ(c.forwards[0].guest, 22);
	CHECK(c.forwards[1].udp);
	CHECK_STR(c.forwards[1].addr, "0.0.0.0");
	REFUSED("run d -f 80:80", "--forward 80:80: must be "
				  "tcp|udp:[ADDR:]PORT:PORT");
	REFUSED("run d -f tcp:x:80:80", "'x' is not an IPv4 address");
	REFUSED("run d -f tcp:70000:80", "must be tcp|udp");
	REFUSED("run -f tcp:1:1", "--forward: the guest has no network");
}

static void wrong_values(void)
{
	REFUSED("run --memory lots", "error: --memory lots: not a size\n"
				     "vmshare: hint: write it as 512M or 2G");
	REFUSED("run --memory 1M", "--memory 1M: must be from 16 MiB to "
				   "16 TiB");
	REFUSED("run --cpus 0", "--cpus 0: must be a number from 1 to 255");
	REFUSED("run --accel hvf", "--accel hvf: must be one of "
				   "auto|kvm|tcg");
	REFUSED("run --memory-type ram", "--memory-type ram: must be "
					 "memfd|hugepages[=SIZE]|file=DIR");
	REFUSED("run --memory-type hugepages=3M", "page size must be a power "
						  "of two");
	REFUSED("run --timeout soon", "--timeout soon: not a time");
	REFUSED("run --ephemeral=maybe", "--ephemeral maybe: must be on or "
					 "off");
	REFUSED("run --memory", "--memory: needs a value, as in --memory SIZE");
	REFUSED("run --memry 1G", "error: unknown option '--memry'\n"
				  "vmshare: hint: did you mean --memory?");
	REFUSED("run -y", "unknown option '-y'");
	REFUSED("run --initrd x d", "--initrd: needs --kernel");
	REFUSED("run --append x d", "--append: needs --kernel");
	REFUSED("run --ephemeral --read-only d", "exclude each other");
	REFUSED("check --once", "unknown option '--once'");
	REFUSED("serve -s . --socket s disk", "unexpected argument 'disk'");
}

static void memory_types(void)
{
	CHECK_EQ(parse("run --memory-type hugepages=1G --memory 1500M d"), 0);
	CHECK_EQ(c.mem.type, MEM_HUGEPAGES);
	CHECK_EQ(c.mem.page_size, 1024 * MIB);
	CHECK_EQ(c.memory, 2048 * MIB);
	CHECK_EQ(parse("run --memory-type hugepages d"), 0);
	CHECK_EQ(c.mem.page_size, 0);
	CHECK_EQ(parse("run --memory-type file=/dev/shm --prealloc d"), 0);
	CHECK_EQ(c.mem.type, MEM_FILE);
	CHECK_STR(c.mem.dir, "/dev/shm");
	CHECK(c.mem.prealloc);
}

/* ---- shares ------------------------------------------------------------- */

static void share_words(void)
{
	static const struct {
		const char *word, *dir, *tag;
	} good[] = {
		{"/a/src:tag", "/a/src", "tag"},
		{"/a/src", "/a/src", "src"},
		{"/a/src/", "/a/src/", "src"},
		{"/a:b/src", "/a:b/src", "src"},
		{"/a:b:c", "/a:b", "c"},
		{"/a:b=c:d", "/a:b=c", "d"},
		{"/a\\:b", "/a:b", "a:b"},
		{"/a,b:t,ro", "/a,b", "t"},
		{"/a\\,b:t", "/a,b", "t"},
		{"/a%b:t%u", "/a b", "t u"},
		{"/a\\b:t", "/a\\b", "t"},
		{"/:root,ro", "/", "root"},
	};
	char line[256];

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		snprintf(line, sizeof(line), "run -s %s d", good[i].word);
		if (strcmp(good[i].tag, "a:b") == 0) {
			REFUSED(line, "has a character that tags can't have");
			continue;
		}
		CHECK_EQ(parse(line), 0);
		CHECK_STR(c.shares[0].dir, good[i].dir);
		CHECK_STR(c.shares[0].tag, good[i].tag);
	}
	CHECK_EQ(parse("run -s . d"), 0);
	CHECK_STR(c.shares[0].dir, ".");
	CHECK(!strchr(c.shares[0].tag, '/') && c.shares[0].tag[0] != '.');
}

static void share_options(void)
{
	const struct share_config *s = &c.shares[0];

	CHECK_EQ(parse("run -p 2 -s /a:t d"), 0);
	CHECK(!s->ro && s->xattr && s->posix_acl && s->posix_lock && s->flock &&
	      s->block_locks && s->submounts && !s->writeback);
	CHECK_STR(s->cache, "auto");
	CHECK_EQ(s->queue_size, 1024);
	CHECK_EQ(s->queues, 2);
	CHECK_EQ(s->timeout_ms, 1000);
	CHECK(!s->access && !s->mount);
	CHECK_STR(s->sandbox, "auto");
	CHECK_EQ(parse("run -s /a:t,ro,cache=none,queue-size=64,queues=4,"
		       "xattr=off,mount=/mnt/x\\,y,uid-map=0:1000:1,"
		       "uid-map=1:100000:9,posix-lock=no d"),
		 0);
	CHECK(s->ro && !s->xattr && !s->posix_lock);
	CHECK_STR(s->cache, "none");
	CHECK_EQ(s->queue_size, 64);
	CHECK_EQ(s->queues, 4);
	CHECK_STR(s->mount, "/mnt/x,y");
	CHECK_STR(map_text(&s->uid_map), "0:0:1000:1 0:1:100000:9 ");
	CHECK_EQ(parse("run -s /a:t,ro,rw d"), 0);
	CHECK(!s->ro);
	CHECK_EQ(parse("serve -s /a:t --socket x"), 0);
	CHECK_EQ(s->queues, 0);
}

static bool is_squash(const struct share_config *s, uint32_t uid, uint32_t gid)
{
	return s->squash.set && s->squash.uid == uid && s->squash.gid == gid;
}

static void share_mistakes(void)
{
	REFUSED("run -s /x/y: d", "error: share '/x/y': tag is empty");
	REFUSED("run -s /x/y:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa d",
		"share '/x/y': tag 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' is "
		"37 bytes; the limit is 36\nvmshare: hint: give a shorter "
		"one: --share /x/y:NAME");
	REFUSED("run -s /a/src -s /b/src d",
		"tag 'src' is used by both "
		"/a/src and /b/src\nvmshare: hint: give one another tag: "
		"--share /b/src:src2");
	REFUSED("run -s /a:t,queue-size=100 d",
		"error: share 't': queue-size "
		"100: must be a power of two from 2 to 1024");
	REFUSED("run -s /a:t,queue-size=2048 d", "from 2 to 1024");
	REFUSED("run -s /a:t,qeue-size=1 d",
		"share 't': unknown option "
		"'qeue-size'\nvmshare: hint: did you mean 'queue-size'?");
	REFUSED("run -s /a:t,cache d", "cache: needs a value, as in "
				       "cache=auto|always|none");
	REFUSED("run -s /a:t,mount=x d", "must be an absolute path in the "
					 "guest");
	REFUSED("run -s /:r d",
		"share 'r': / is the whole host, and the "
		"guest could write to it\nvmshare: hint: add ro, or "
		"allow-root if that is meant");
	CHECK_EQ(parse("run -s /:r,allow-root d"), 0);
	REFUSED("run -s /a:vmshare-root", "that tag is the guest's root");
	REFUSED("run -s /a:t,drop-caps=mknod:sys_admin d",
		"share 't': drop-caps: the server has no capability "
		"'sys_admin'");
	REFUSED("run -s /a:t,squash=0,access=mapped d", "squash contradicts "
							"access=mapped");
	REFUSED("run -s /a:t,uid-map=1:2 d",
		"must be [KIND:]GUEST:HOST:COUNT");
	CHECK_EQ(parse("run -s /a:t" FOUR_MAPS FOUR_MAPS FOUR_MAPS FOUR_MAPS
		       " d"), 0);
	REFUSED("run -s /a:t" FOUR_MAPS FOUR_MAPS FOUR_MAPS FOUR_MAPS
		",uid-map=0:0:1 d", "uid-map: more than 16 ranges");
	REFUSED("serve -s /a -s /b --socket s", "serve: needs one --share, "
						"not 2");
	REFUSED("serve -s /a", "where should it listen?");
	REFUSED("serve -s /a --fd 3 --socket x", "--socket and --fd exclude");
}

static void external_server(void)
{
	CHECK_EQ(parse("run --share-socket /run/s:t,queue-size=128 d"), 0);
	CHECK_STR(c.shares[0].socket, "/run/s");
	CHECK(!c.shares[0].dir);
	CHECK_EQ(c.shares[0].queue_size, 128);
	REFUSED("run --share-socket /run/s:t,ro d", "share 't': ro: only its "
						    "file server can do that");
	REFUSED("run --share-socket /run/s d", "must be PATH:TAG");
}

/* ---- nodes -------------------------------------------------------------- */

static void nodes(void)
{
	CHECK_EQ(parse("run -p 4 -m 1G --numa cpus=0-1,memory=256M --numa "
		       "cpus=2-3 d"),
		 0);
	CHECK(c.numa);
	CHECK_EQ(c.nr_nodes, 2);
	CHECK_EQ(c.nodes[0].memory, 256 * MIB);
	CHECK_EQ(c.nodes[1].memory, 768 * MIB);
	CHECK_EQ(parse("run -p 3 -m 1G --numa memory=512M --numa "
		       "memory=512M d"),
		 0);
	CHECK_STR(c.nodes[0].cpus, "0");
	CHECK_STR(c.nodes[1].cpus, "1-2");
	CHECK_EQ(parse("run --numa memory=512M --numa memory=1G d"), 0);
	CHECK_EQ(c.memory, 1536 * MIB);
	REFUSED("run -m 1G --numa memory=512M --numa memory=1G d",
		"numa: the nodes' memory is 1.5 GiB, the guest's 1 GiB");
	REFUSED("run -p 2 --numa cpus=0-2 d", "numa node 0: there is no "
					      "processor 2 of 2");
	REFUSED("run -p 2 --numa cpus=0-1 --numa cpus=1 d",
		"numa: processor "
		"1 is in nodes 0 and 1");
	REFUSED("run -p 3 --numa cpus=0 --numa cpus=1 d", "numa: processor 2 "
							  "is in no node");
	REFUSED("run -p 2 --numa cpus=0-1 --numa memory=1M d",
		"give cpus for "
		"every node or for none");
	REFUSED("run --numa cpu=0 d", "numa cpu=0: unknown option 'cpu'");
}

/* ---- the file ----------------------------------------------------------- */

static void file_and_flags(void)
{
	char line[256], want[256];

	put("ci.conf",
	    "# a comment\n[vm]\nmemory = 2G\ndisk = disk.img\n"
	    "ephemeral = yes\nappend = a = b # c\nkernel = /k\n\n"
	    "[share src]\n  dir = ..\n  ro = yes\nqueue-size=512\n"
	    "[share out]\ndir = out\n[numa 0]\nmemory = 1G\n[numa 1]\n"
	    "[qemu]\narg = -device\narg = virtio-balloon-pci\n", 0644);
	snprintf(line, sizeof(line), "run -c %s/ci.conf", top);
	CHECK_EQ(parse(line), 0);
	CHECK_EQ(c.memory, 2048 * MIB);
	snprintf(want, sizeof(want), "%s/disk.img", top);
	CHECK_STR(c.disks[0].path, want);
	CHECK(c.ephemeral);
	CHECK_STR(c.append, "a = b # c");
	CHECK_STR(c.kernel, "/k");
	CHECK_EQ(c.nr_shares, 2);
	snprintf(want, sizeof(want), "%s/..", top);
	CHECK_STR(c.shares[0].dir, want);
	CHECK(c.shares[0].ro);
	CHECK_EQ(c.shares[0].queue_size, 512);
	CHECK_EQ(c.nr_nodes, 2);
	CHECK_EQ(c.nr_qemu_args, 2);
	/* flags win, for one setting, for all disks, within one share */
	snprintf(line, sizeof(line),
		 "run -m 3G --config=%s/ci.conf other.img "
		 "-s new:src,rw",
		 top);
	CHECK_EQ(parse(line), 0);
	CHECK_EQ(c.memory, 3072 * MIB);
	CHECK_EQ(c.nr_disks, 1);
	CHECK_STR(c.disks[0].path, "other.img");
	CHECK_EQ(c.nr_shares, 2);
	CHECK_STR(c.shares[0].dir, "new");
	CHECK(!c.shares[0].ro);
	CHECK_EQ(c.shares[0].queue_size, 512);
	CHECK_EQ(chdir(top), 0);
	CHECK_EQ(parse("run -c ci.conf"), 0);
	CHECK_STR(c.disks[0].path, "./disk.img");
}

static void file_mistakes(void)
{
	static const struct {
		const char *text, *message;
	} bad[] = {
		{"[share src]\ndir = .\nqeue-size = 1\n",
		 "demo.conf:3: unknown key 'qeue-size' in [share src] (did "
		 "you mean 'queue-size'?)"},
		{"[vm]\nmemory = x\n", "demo.conf:2: memory x: not a size"},
		{"[vmm]\n", "demo.conf:1: unknown section [vmm] (did you "
			    "mean [vm]?)"},
		{"memory = 1G\n", "demo.conf:1: 'memory' stands before the "
				  "first section"},
		{"[vm]\nmemory\n", "demo.conf:2: 'memory': must be KEY = "
				   "VALUE"},
		{"[vm\n", "demo.conf:1: '[vm': no ']' at the end"},
		{"[vm]\n\n[share a]\nro = yes\n[vm]\n",
		 "demo.conf:3: share 'a': no directory given"},
		{"[share a]\ndir=.\n[share a]\ndir=.\n",
		 "demo.conf:3: section [share a] appears twice"},
		{"[vm]\nshare = x\n",
		 "demo.conf:2: 'share' is for the command line only"},
		{"[qemu]\nargs = x\n", "demo.conf:2: unknown key 'args' in "
				       "[qemu] (did you mean 'arg'?)"},
		{"[numa 1]\n", "demo.conf:1: [numa 1]: nodes are numbered "
			       "from 0, in order"},
		{"[share a/b]\ndir=.\n", "demo.conf:1: share '"},
	};

	CHECK_EQ(chdir(top), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		put("demo.conf", bad[i].text, 0644);
		CHECK_EQ(parse("run -c demo.conf"), -EINVAL);
		if (!strstr(said, bad[i].message))
			printf("# said: %s", said);
		CHECK(strstr(said, bad[i].message));
	}
	REFUSED("run -c none.conf", "none.conf: no such file");
}

/* Any bytes: an answer and no crash (run under the sanitizers in CI). */
static void file_of_noise(void)
{
	unsigned int seed = 1;

	CHECK_EQ(chdir(top), 0);
	for (int round = 0; round < 300; round++) {
		static const char parts[] = "[]=#;\n\n vmsharenuqdiro0123,:/\\";
		FILE *f = fopen("noise.conf", "we");

		fputs(round & 1 ? "[share a]\n" : "[vm]\n", f);
		for (int i = 0; i < 200; i++) {
			seed = seed * 1103515245 + 12345;
			fputc(round % 7 ? parts[(seed >> 16) %
						(sizeof(parts) - 1)]
					: (int)(seed >> 16 & 0xff),
			      f);
		}
		fclose(f);
		parse("run -c noise.conf");
	}
}

/* ---- the table ---------------------------------------------------------- */

/* Names and letters are unique in each place; help fits its column. */
static void table(void)
{
	for (unsigned int i = 0; i < cfg_nr_keys; i++) {
		const struct cfg_key *k = &cfg_keys[i];

		CHECK(k->parse && k->help && strlen(k->help) <= 50);
		for (unsigned int j = 0; j < i; j++) {
			const struct cfg_key *l = &cfg_keys[j];

			if (!(k->scope & l->scope & 0x7f))
				continue;
			CHECK(strcmp(k->name, l->name) != 0);
			CHECK(!k->letter || k->letter != l->letter);
		}
	}
}

static void help_fits(void)
{
	static const char *const topics[] = {"run", "serve", "check",
					     "libvirt-xml"};

	for (size_t i = 0; i < ARRAY_SIZE(topics); i++) {
		unsigned int lines = 0;
		size_t width = 0;

		catch_stream(1);
		config_help(topics[i]);
		let_go();
		for (const char *s = said; *s; s++) {
			const char *end = strchr(s, '\n');

			lines++;
			if ((size_t)(end - s) > width)
				width = (size_t)(end - s);
			s = end;
		}
		CHECK(strncmp(said, "example: vmshare ", 17) == 0);
		CHECK(lines <= 24);
		CHECK(width <= 80);
	}
	CHECK_EQ(config_help("nonsense"), -ENOENT);
}

/* With --root disks are data, and the guest is started by our own init. */
static void data_disks(void)
{
	CHECK_EQ(parse("run --root / d"), 0);
	CHECK(c.own_init && c.has_root_share);
	CHECK_EQ(c.nr_disks, 1);
	CHECK_EQ(parse("run --root / --kernel k d -- true"), 0);
	CHECK(c.own_init && c.has_root_share && c.root_share.ro);
	CHECK_EQ(parse("run --kernel k d -- true"), 0);
	CHECK(c.own_init && !c.has_root_share);
	CHECK_EQ(parse("run d"), 0);
	CHECK(!c.own_init);
}

/* An ordinary user's shares are those of whom the command runs as. */
static void user_owns(void)
{
	const struct share_config *s = c.shares;

	if (geteuid())
		SKIP("needs root to become somebody else");
	mkdir("tree", 0755);
	mkdir("tree/etc", 0755);
	put("tree/etc/passwd", "root:x:0:0::/root:/bin/sh\n"
	    "builder:x:77:78::/home/b:/bin/sh\n", 0644);
	chmod(top, 0755);
	CHECK_EQ(seteuid(1234), 0);
	CHECK_EQ(parse("run -u builder --root tree -s /a:a "
		       "-s /b:b,access=mapped -s /c:c,squash=5:6 "
		       "-s /d:d,uid-map=0:1234:1"), 0);
	CHECK(is_squash(&s[0], 77, 78));
	CHECK(!s[1].squash.set && !s[3].squash.set);
	CHECK(is_squash(&s[2], 5, 6));
	/* That tree's root owns it; on the host's own the caller does. */
	CHECK(!c.root_share.squash.set);
	CHECK_EQ(parse("run -u 4321 -s /a:a"), 0);
	CHECK(is_squash(&s[0], 4321, 4321));
	CHECK(is_squash(&c.root_share, 4321, 4321));
	CHECK_EQ(parse("run -u nobody-here --root tree -s /a:a"), 0);
	CHECK(!s[0].squash.set);
	/* A disk's users are its own. */
	CHECK_EQ(parse("run -u builder --kernel k -s /a:a d -- true"), 0);
	CHECK(!s[0].squash.set);
	CHECK_EQ(parse("run -u 4321 --kernel k -s /a:a d -- true"), 0);
	CHECK(is_squash(&s[0], 4321, 4321));
	CHECK_EQ(parse("run --root tree -s /a:a"), 0);
	CHECK(!s[0].squash.set);
	CHECK_EQ(seteuid(0), 0);
	CHECK_EQ(parse("run -u builder --root tree -s /a:a"), 0);
	CHECK(!s[0].squash.set);
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{"defaults", defaults},
		{"time_to_end", time_to_end},
		{"spellings", spellings},
		{"command_of_the_guest", command_of_the_guest},
		{"forwards", forwards},
		{"wrong_values", wrong_values},
		{"memory_types", memory_types},
		{"share_words", share_words},
		{"share_options", share_options},
		{"share_mistakes", share_mistakes},
		{"external_server", external_server},
		{"data_disks", data_disks},
		{"user_owns", user_owns},
		{"nodes", nodes},
		{"file_and_flags", file_and_flags},
		{"file_mistakes", file_mistakes},
		{"file_of_noise", file_of_noise},
		{"table", table},
		{"help_fits", help_fits},
	};

	return rig_main(cases, ARRAY_SIZE(cases), argc, argv);
}
