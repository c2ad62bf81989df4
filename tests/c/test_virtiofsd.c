/* rooms: base memback guest launch */
/* SPDX-License-Identifier: MIT */
/*
 * Being called as virtiofsd is called: both dialects, held against what libvirt
 * and others really write, and what is refused by name.
 */
#include "launch/config/config.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/c/launch_rig.h"

#define MIB	  (UINT64_C(1) << 20)

static int virtiofsd(const char *line)
{
	return parse_with(config_parse_virtiofsd, line);
}

static void called_as_virtiofsd(void)
{
	char *lists[][3] = {
		{"/usr/libexec/virtiofsd", "--help", NULL},
		{"vmshare", "--fd=3", NULL},
		{"vmshare", "-o", NULL},
		{"vmshare", "--print-capabilities", NULL},
		{"vmshare", "run", NULL},
		{"vmshare", "--help", NULL},
		{"vmshare", "--version", NULL},
		{"vmshare", "-v", NULL},
		{"vmshare", "--quiet", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		CHECK_EQ(config_is_virtiofsd(2, lists[i]), i < 4);
	CHECK(!config_is_virtiofsd(1, lists[4]));
}

/* What libvirt 9.0 writes, and 11.3 without "separate-options". */
static void libvirt_o_dialect(void)
{
	const struct share_config *s = &c.shares[0];

	CHECK_EQ(virtiofsd("vmshare --fd=31 -o source=/var/a,,b%c,cache=always"
			   ",sandbox=chroot,xattr,no_flock,posix_lock "
			   "--thread-pool-size=16 -d"),
		 0);
	CHECK_EQ(c.listen_fd, 31);
	CHECK_STR(s->dir, "/var/a,b c");
	CHECK_STR(s->cache, "always");
	CHECK_STR(s->sandbox, "chroot");
	CHECK(s->xattr && !s->flock && s->posix_lock);
	CHECK_EQ(s->threads, 16);
	CHECK_EQ(c.verbose, 2);
	CHECK_STR(c.command, "serve");
	CHECK(c.once);
	CHECK_EQ(virtiofsd("vmshare --fd=31 -o source=/a,cache=none,no_xattr,"
			   "flock,no_posix_lock --rlimit-nofile=2048 "
			   "--log-level debug --uid-map=:0:1000:1: "
			   "--uid-map=:1:100000:65536: --gid-map=:0:100:1: "
			   "--readonly"),
		 0);
	CHECK_STR(s->cache, "none");
	CHECK(!s->xattr && s->flock && !s->posix_lock && s->ro);
	CHECK_EQ(s->open_files, 2048);
	CHECK_STR(map_text(&s->uid_map), "0:0:1000:1 0:1:100000:65536 ");
	CHECK_STR(map_text(&s->gid_map), "0:0:100:1 ");
	CHECK_EQ(c.verbose, 1);
}

/*
 * Word for word what a libvirt 11.3 ran, of a domain with each element that it
 * knows for virtiofs, the directory "a, b,,c" among them.
 */
static void libvirt_11_3(void)
{
	const struct share_config *s = &c.shares[0];

	CHECK_EQ(virtiofsd("/usr/bin/vmshare --fd=21 -o source=/s/opts,"
			   "cache=none,sandbox=chroot,no_xattr,no_flock,"
			   "no_posix_lock --thread-pool-size=4 "
			   "--rlimit-nofile=512"), 0);
	CHECK_STR(s->cache, "none");
	CHECK_STR(s->sandbox, "chroot");
	CHECK(!s->xattr && !s->flock && !s->posix_lock);
	CHECK_EQ(s->threads, 4);
	CHECK_EQ(s->open_files, 512);
	CHECK_EQ(virtiofsd("/usr/bin/vmshare --fd=21 -o source=/s/map,xattr "
			   "--uid-map=:0:1000:1: --gid-map=:0:1000:1: "
			   "--readonly"), 0);
	CHECK(s->xattr && s->ro && s->flock && s->posix_lock);
	CHECK_STR(map_text(&s->uid_map), "0:0:1000:1 ");
	CHECK_STR(map_text(&s->gid_map), "0:0:1000:1 ");
	CHECK_EQ(virtiofsd("/usr/bin/vmshare --fd=21 -o "
			   "source=/s/a,,%b,,,,c"), 0);
	CHECK_STR(s->dir, "/s/a, b,,c");
}

/* What libvirt 11.3 writes with "separate-options", Kata, and mkosi. */
static void separate_options(void)
{
	const struct share_config *s = &c.shares[0];

	CHECK_EQ(virtiofsd("vmshare --fd=27 --shared-dir /srv/a,b --cache "
			   "never --sandbox namespace --xattr "
			   "--thread-pool-size=0"),
		 0);
	CHECK_EQ(c.listen_fd, 27);
	CHECK_STR(s->dir, "/srv/a,b");
	CHECK_STR(s->cache, "none");
	CHECK_STR(s->sandbox, "namespace");
	CHECK(s->xattr);
	CHECK_EQ(s->threads, 0);
	CHECK_EQ(virtiofsd("virtiofsd --syslog --cache=auto "
			   "--shared-dir=/run/kata --fd=3 "
			   "--thread-pool-size=1 --announce-submounts"),
		 0);
	CHECK(s->submounts && !s->xattr && !s->posix_acl && c.syslog);
	CHECK_STR(s->tag, "kata");
	CHECK_EQ(virtiofsd("virtiofsd --socket-path=/s --shared-dir / "
			   "--no-announce-submounts --inode-file-handles="
			   "prefer --posix-acl=auto --allow-mmap --writeback "
			   "--seccomp trap --translate-uid map:0:1000:1 "
			   "--xattrmap :map::user.v.: --socket-group kvm "
			   "--preserve-noatime --allow-direct-io --tag t"),
		 0);
	CHECK(!s->submounts && s->inode_handles && s->posix_acl && s->xattr);
	CHECK(s->writeback && s->noatime && s->direct_io && s->allow_root);
	CHECK_STR(s->seccomp, "kill");
	CHECK_STR(map_text(&s->uid_map), "1:0:1000:1 ");
	CHECK_STR(s->xattr_map, ":map::user.v.:");
	CHECK_STR(c.socket_group, "kvm");
	CHECK_STR(s->tag, "t");
}

/* systemd-vmspawn 262.1, mkosi 25.3 and virtme-ng 1.35 as they were seen. */
static void launchers(void)
{
	const struct share_config *s = &c.shares[0];

	CHECK_EQ(virtiofsd("/usr/libexec/virtiofsd --shared-dir /srv/tree "
			   "--xattr --fd 7 --no-announce-submounts "
			   "--log-level=error --modcaps=-mknod"), 0);
	CHECK_EQ(c.listen_fd, 7);
	CHECK(s->xattr && !s->submounts && !s->posix_acl);
	CHECK_EQ(c.verbose, -2);
	CHECK_STR(s->drop_caps, "mknod");
	CHECK_EQ(virtiofsd("virtiofsd --shared-dir /srv/tree --xattr "
			   "--no-announce-submounts --sandbox=chroot "
			   "--security-label --inode-file-handles=never "
			   "--fd 3"), 0);
	CHECK(s->xattr && !s->inode_handles);
	CHECK_STR(s->sandbox, "chroot");
	CHECK(c.warning &&
	      strstr(c.warning, "security-label: new files get no"));
	CHECK_EQ(virtiofsd("/usr/libexec/virtiofsd --syslog "
			   "--no-announce-submounts --socket-path /tmp/x/sock "
			   "--shared-dir / --sandbox none"), 0);
	CHECK(c.syslog && s->allow_root && !s->submounts && !c.warning);
	CHECK_STR(s->dir, "/");
	CHECK_STR(s->sandbox, "none");
	CHECK_STR(c.socket_path, "/tmp/x/sock");
}

/* Incus 6: ACLs, or the ids of a container's map. */
static void incus(void)
{
	const struct share_config *s = &c.shares[0];

	CHECK_EQ(virtiofsd("/usr/libexec/virtiofsd --fd=3 --cache=never "
			   "--shared-dir=/srv/data --posix-acl=auto"), 0);
	CHECK_EQ(c.listen_fd, 3);
	CHECK_STR(s->cache, "none");
	CHECK(s->posix_acl && s->xattr);
	CHECK_EQ(virtiofsd("/usr/libexec/virtiofsd --fd=3 --cache=always "
			   "--shared-dir=/srv/data "
			   "--translate-uid=map:0:1000000:1000000000 "
			   "--translate-uid=forbid-guest:0:0 "
			   "--translate-gid=map:0:1000000:1000000000 "
			   "--translate-gid=forbid-guest:0:0 "
			   "--translate-uid=forbid-guest:1000000000:3294967295 "
			   "--translate-gid=forbid-guest:1000000000:"
			   "3294967295"), 0);
	CHECK_STR(s->cache, "always");
	CHECK(!s->posix_acl);
	CHECK_STR(map_text(&s->uid_map), "1:0:1000000:1000000000 6:0:0:0 "
		  "6:1000000000:0:3294967295 ");
	CHECK_EQ(memcmp(&s->uid_map, &s->gid_map, sizeof(s->uid_map)), 0);
}

static void take_away(void)
{
	const struct share_config *s = &c.shares[0];

	/* What is kept or dropped anyhow may be asked for. */
	CHECK_EQ(virtiofsd("v --fd=3 --shared-dir /a "
			   "--modcaps=-MKNOD:-sys_admin:+chown "
			   "--modcaps=-setfcap"), 0);
	CHECK_STR(s->drop_caps, "mknod:setfcap");
}

static void refused_of_virtiofsd(void)
{
	static const struct {
		const char *line, *message;
	} bad[] = {
		{"v --fd=3 -o source=/a -o source=/",
		 "-o source /: the directory was given already: /a"},
		{"v --fd=3 --shared-dir /a -o source=/,sandbox=none",
		 "the directory was given already"},
		{"v --fd=3 -o source=/a,modcaps=+sys_admin",
		 "-o modcaps +sys_admin: refused"},
		{"v --fd=3 --shared-dir /a --modcaps=-mknod:+DAC_read_search",
		 "--modcaps +dac_read_search: refused"},
		{"v --fd=3 --shared-dir /a --modcaps=mknod",
		 "--modcaps mknod: must be +|-CAPABILITY[:...]"},
		{"v --shared-dir /a --fd 3 --daemonize",
		 "--daemonize: refused"},
		{"v --shared-dir /a --fd 3 --cache metadata",
		 "--cache metadata: vmshare has only"},
		{"v --shared-dir /a --fd 3 --security-label=yes",
		 "must be never, auto or always"},
		{"v --shared-dir /a --fd 3 --migration-mode find-paths",
		 "--migration-mode: refused"},
		{"v --shared-dir /a --fd 3 --inode-file-handles=mandatory",
		 "must be never or prefer"},
		{"v --shared-dir /a --fd 3 --xatr",
		 "unknown option '--xatr' (called as virtiofsd)"},
		{"v --shared-dir /a --fd 3 -o flok",
		 "hint: did you mean -o flock?"},
		{"v --shared-dir /a", "give --socket-path PATH or --fd N"},
		{"v --fd 3", "no directory given"},
		{"v --fd 3 --socket-path s --shared-dir /a",
		 "exclude each other"},
		{"v --fd x --shared-dir /a", "--fd x: must be a descriptor"},
		{"v --fd 3 --shared-dir /a --uid-map=0:1:2",
		 "must be :GUEST:HOST:COUNT:"},
		{"v --fd 3 --shared-dir", "--shared-dir: needs a value"},
		{"v --fd 3 --xattr=on", "--xattr: takes no value"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		CHECK_EQ(virtiofsd(bad[i].line), -EINVAL);
		if (!strstr(said, bad[i].message))
			printf("# said: %s", said);
		CHECK(strstr(said, bad[i].message));
	}
}

/*
 * Every option of virtiofsd 1.14 in Rust and of the one in C (QEMU 7.2), by
 * what becomes of it: taken, or refused by its name.
 */
static const char *const rust[] = {
	"--tag t", "--thread-pool-size 4", "--thread-pool-size=0",
	"--rlimit-nofile 1024", "--rlimit-nofile=0", "--xattr",
	"--xattrmap :map::user.v.:", "--posix-acl", "--posix-acl=never",
	"--posix-acl=auto", "--posix-acl=always", "--security-label=never",
	"--security-label=auto", "--security-label",
	"--security-label=always", "--modcaps=-mknod", "--sandbox namespace",
	"--sandbox chroot",
	"--sandbox=none", "--seccomp none", "--seccomp kill", "--seccomp log",
	"--seccomp=trap", "--cache auto", "--cache always", "--cache=never",
	"--allow-mmap", "--writeback", "--allow-direct-io", "--no-readdirplus",
	"--announce-submounts", "--no-announce-submounts",
	"--inode-file-handles=never", "--inode-file-handles=prefer",
	"--inode-file-handles=fallback",
	"--killpriv-v2", "--no-killpriv-v2", "--readonly",
	"--uid-map=:0:1000:1:", "--gid-map=|0|1000|1|",
	"--translate-uid map:0:1000:1", "--translate-gid=map:0:1000:1",
	"--translate-uid squash-guest:0:1000:4294967295",
	"--translate-uid=squash-host:1000:0:1", "--translate-gid guest:0:1:1",
	"--translate-gid=host:1000:0:1", "--translate-uid forbid-guest:0:999",
	"--preserve-noatime", "--log-level debug", "--log-level=off",
	"--log-level=warn", "--log-level=trace", "--syslog", "-d", "-f",
};
static const char *const refused_rust[] = {
	"--modcaps=+sys_admin",
	"--cache=metadata", "--inode-file-handles=mandatory",
	"--translate-uid 0:1000:1", "--translate-uid=squash-guest:0:1000",
	"--translate-gid=forbid-guest:0:1:1", "--migration-mode=find-paths",
	"--migration-mode=file-handles", "--migration-on-error=abort",
	"--migration-verify-handles", "--migration-confirm-paths",
};
static const char *const in_c[] = {
	"cache=auto", "cache=always", "cache=none", "flock", "no_flock",
	"posix_lock", "no_posix_lock", "log_level=debug", "log_level=info",
	"log_level=warn", "log_level=err", "max_idle_threads=10",
	"readdirplus", "no_readdirplus", "sandbox=namespace", "sandbox=chroot",
	"timeout=2.5", "writeback", "no_writeback", "xattr", "no_xattr",
	"xattrmap=:map::user.v.:", "allow_direct_io", "no_allow_direct_io",
	"announce_submounts", "posix_acl", "no_posix_acl", "killpriv_v2",
	"no_killpriv_v2", "no_security_label", "security_label",
	"modcaps=-mknod:-chown", "allow_root", "debug",
};
static const char *const refused_in_c[] = {
	"modcaps=+sys_admin", "cache=metadata", "frob",
};

static void try_each(const char *line, const char *const *words, size_t nr,
		     bool taken)
{
	for (size_t i = 0; i < nr; i++) {
		size_t name = strcspn(words[i], " =");
		char whole[160];
		int err;

		snprintf(whole, sizeof(whole), "%s%s", line, words[i]);
		err = virtiofsd(whole);
		if (err != (taken ? 0 : -EINVAL))
			printf("# %s: %s", words[i], said);
		CHECK_EQ(err, taken ? 0 : -EINVAL);
		CHECK(taken || memmem(said, strlen(said), words[i], name));
	}
}

static void every_option(void)
{
	const char *line = "v --fd 3 --shared-dir /a ";
	const char *in_o = "v --fd 3 -o source=/a,";

	try_each(line, rust, ARRAY_SIZE(rust), true);
	try_each(line, refused_rust, ARRAY_SIZE(refused_rust), false);
	try_each(in_o, in_c, ARRAY_SIZE(in_c), true);
	try_each(in_o, refused_in_c, ARRAY_SIZE(refused_in_c), false);
	CHECK_EQ(virtiofsd("v --socket-path=/s --socket-group kvm -o "
			   "source=/a --syslog --thread-pool-size=1"), 0);
	CHECK_EQ(virtiofsd("v --socket /s --shared-dir /a"), 0);
	CHECK_EQ(virtiofsd("v --fd 3 -o source=/a --daemonize"), -EINVAL);
	CHECK(strstr(said, "--daemonize: refused"));
}

static void capabilities(void)
{
	char *argv[] = {"vmshare", "--print-capabilities", NULL};
	int err;

	config_free(&c);
	catch_stream(1);
	err = config_parse_virtiofsd(&c, 2, argv);
	let_go();
	CHECK_EQ(err, 1);
	CHECK_STR(said, "{\n  \"type\": \"fs\",\n  \"features\": [\n"
		  "    \"posix-acl-negotiation-mode\"\n  ]\n}\n");
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{"called_as_virtiofsd", called_as_virtiofsd},
		{"libvirt_o_dialect", libvirt_o_dialect},
		{"libvirt_11_3", libvirt_11_3},
		{"separate_options", separate_options},
		{"launchers", launchers},
		{"incus", incus},
		{"take_away", take_away},
		{"refused_of_virtiofsd", refused_of_virtiofsd},
		{"every_option", every_option},
		{"capabilities", capabilities},
	};

	return rig_main(cases, ARRAY_SIZE(cases), argc, argv);
}
