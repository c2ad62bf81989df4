/* SPDX-License-Identifier: MIT */
/*
 * What makes a machine of a kernel and a tree: its name, its network, its
 * users. All by system calls and by reading the guest's own files: a static
 * binary has no name service, and the guest's would be the wrong one.
 *
 * The network is QEMU's user network with its default addresses; there is no
 * DHCP client, for there is nothing to ask.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <net/route.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest/init.h"

#define NET_ADDRESS	"10.0.2.15"
#define NET_MASK	"255.255.255.0"
#define NET_GATEWAY	"10.0.2.2"
#define NET_RESOLV	"nameserver 10.0.2.3\n"

/* ---- files of the root -------------------------------------------------- */

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	ssize_t n;
	int ret = 0;

	if (fd < 0)
		return -errno;
	n = write(fd, text, strlen(text));
	if (n != (ssize_t)strlen(text))
		ret = n < 0 ? -errno : -EIO;
	close(fd);
	return ret;
}

/*
 * A file of the root is covered by another, which has no name of its own then,
 * so that it can be done in a root that is read-only or someone's own.
 */
static int cover_file(const char *path, const char *text)
{
	static const char by[] = "/run/vmshare-cover";
	int ret = write_file(by, text);

	if (ret == 0 && mount(by, path, NULL, MS_BIND, NULL) < 0)
		ret = -errno;
	unlink(by);
	return ret;
}

/* ---- its name ----------------------------------------------------------- */

/* Does a line of a hosts file have this name? */
static bool has_host(const char *hosts, const char *name)
{
	const size_t len = strlen(name);
	const char *p = hosts;

	while ((p = strstr(p, name))) {
		if (p > hosts && isspace((unsigned char)p[-1]) &&
		    (!p[len] || isspace((unsigned char)p[len])))
			return true;
		p += len;
	}
	return false;
}

/* sudo and its like look up the name of the machine that they run on. */
static int host_is_known(const char *name, bool writable)
{
	static const char etc[] = "/etc/hosts";
	const char *before;
	char *old = NULL, *text;
	size_t size = 0;
	int ret = guest_read_file(etc, &old, &size);

	if (ret < 0 && (ret != -ENOENT || !writable))
		return ret;
	if (old && has_host(old, name)) {
		free(old);
		return 0;
	}
	before = old ? old : "127.0.0.1\tlocalhost\n";
	if (asprintf(&text, "%s%s127.0.1.1\t%s\n", before,
		     size && before[size - 1] != '\n' ? "\n" : "", name) < 0)
		text = NULL;
	if (!text)
		ret = -ENOMEM;
	else if (old)
		ret = cover_file(etc, text);
	else
		ret = write_file(etc, text);
	free(text);
	free(old);
	return ret;
}

int init_set_hostname(const char *name, bool forgets)
{
	if (sethostname(name, strlen(name)) < 0)
		return -errno;
	return host_is_known(name, forgets);
}

/* ---- network ------------------------------------------------------------ */

static int net_set_address(int fd, const char *card, const char *address,
			   bool mask)
{
	struct ifreq req = { .ifr_flags = 0 };
	struct sockaddr_in in = { .sin_family = AF_INET };

	inet_pton(AF_INET, address, &in.sin_addr);
	memcpy(&req.ifr_addr, &in, sizeof(in));
	snprintf(req.ifr_name, sizeof(req.ifr_name), "%s", card);
	return ioctl(fd, mask ? SIOCSIFNETMASK : SIOCSIFADDR, &req) < 0 ?
		-errno : 0;
}

static int net_set_up(int fd, const char *card)
{
	struct ifreq req = { .ifr_flags = IFF_UP };

	snprintf(req.ifr_name, sizeof(req.ifr_name), "%s", card);
	return ioctl(fd, SIOCSIFFLAGS, &req) < 0 ? -errno : 0;
}

static int net_set_gateway(int fd, const char *card)
{
	struct rtentry route = { .rt_flags = RTF_UP | RTF_GATEWAY };
	struct sockaddr_in in = { .sin_family = AF_INET };
	char dev[IFNAMSIZ];

	snprintf(dev, sizeof(dev), "%s", card);
	memcpy(&route.rt_dst, &in, sizeof(in));
	memcpy(&route.rt_genmask, &in, sizeof(in));
	inet_pton(AF_INET, NET_GATEWAY, &in.sin_addr);
	memcpy(&route.rt_gateway, &in, sizeof(in));
	route.rt_dev = dev;
	return ioctl(fd, SIOCADDRT, &route) < 0 ? -errno : 0;
}

/* The card on a virtio bus: the only one, whatever it is called. */
static int net_find_card(char *card, size_t size)
{
	DIR *d = opendir("/sys/class/net");
	struct dirent *e;
	char path[300];
	int ret = -ENODEV;

	while (d && ret < 0 && (e = readdir(d))) {
		snprintf(path, sizeof(path), "/sys/class/net/%s/device",
			 e->d_name);
		if (e->d_name[0] == '.' || access(path, F_OK) < 0)
			continue;
		snprintf(card, size, "%.15s", e->d_name);
		ret = 0;
	}
	if (d)
		closedir(d);
	return ret;
}

/*
 * Where /etc/resolv.conf is a link to nowhere (into a /run that is empty now),
 * what it points to is made.
 */
static int net_set_resolver(void)
{
	static const char etc[] = "/etc/resolv.conf";
	char to[PATH_MAX], dir[PATH_MAX + 8];
	ssize_t n;

	if (access(etc, F_OK) == 0)
		return cover_file(etc, NET_RESOLV);
	n = readlink(etc, to, sizeof(to) - 1);
	if (n > 0) {
		to[n] = '\0';
		snprintf(dir, sizeof(dir), "%s%s", to[0] == '/' ? "" : "/etc/",
			 to);
		*strrchr(dir, '/') = '\0';
		if (dir[0])
			init_make_dirs(dir);
	}
	return write_file(etc, NET_RESOLV);
}

int init_net_up(bool card, struct guest_error *err)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char name[IFNAMSIZ] = "";
	int ret;

	if (fd < 0)	/* a kernel without INET has no lo to miss */
		return card ? guest_fail(err, -errno, "network: %s",
					 strerror(errno)) : 0;
	net_set_up(fd, "lo");
	ret = card ? net_find_card(name, sizeof(name)) : -ENODEV;
	if (ret == 0)
		ret = net_set_address(fd, name, NET_ADDRESS, false);
	if (ret == 0)
		ret = net_set_address(fd, name, NET_MASK, true);
	if (ret == 0)
		ret = net_set_up(fd, name);
	if (ret == 0)
		ret = net_set_gateway(fd, name);
	close(fd);
	if (!card)
		return 0;
	if (ret < 0)
		return guest_fail(err, ret, "network card %s: %s",
				  name[0] ? name : "(none)",
				  guest_strerror(ret));
	ret = net_set_resolver();
	return ret < 0 ? guest_fail(err, ret, "/etc/resolv.conf: %s",
				    guest_strerror(ret)) : 0;
}

/* ---- users -------------------------------------------------------------- */

/* The next ':'-separated field of a line; *@line moves behind it. */
static char *next_field(char **line)
{
	char *field = strsep(line, ":");

	return field ? field : (char *)"";
}

static void set_user(struct init_user *user, const char *name,
		     unsigned long uid, unsigned long gid, const char *home,
		     const char *shell)
{
	user->uid = (uid_t)uid;
	user->gid = (gid_t)gid;
	user->nr_groups = 0;
	snprintf(user->name, sizeof(user->name), "%s", name);
	snprintf(user->home, sizeof(user->home), "%s", *home ? home : "/");
	snprintf(user->shell, sizeof(user->shell), "%s",
		 *shell ? shell : "/bin/sh");
}

/* name:password:uid:gid:gecos:home:shell */
static bool find_passwd(char *text, const char *who, struct init_user *user)
{
	char *line;

	while ((line = strsep(&text, "\n"))) {
		char *name = next_field(&line), *uid, *gid, *home;

		next_field(&line);
		uid = next_field(&line);
		gid = next_field(&line);
		next_field(&line);
		home = next_field(&line);
		if (!*uid || !*gid ||
		    (strcmp(name, who) != 0 && strcmp(uid, who) != 0))
			continue;
		set_user(user, name, strtoul(uid, NULL, 10),
			 strtoul(gid, NULL, 10), home, next_field(&line));
		return true;
	}
	return false;
}

/* name:password:gid:member,member */
static void find_groups(char *text, struct init_user *user)
{
	const size_t max = sizeof(user->groups) / sizeof(user->groups[0]);
	char *line, *member;

	user->groups[user->nr_groups++] = user->gid;
	while ((line = strsep(&text, "\n"))) {
		char *gid;

		next_field(&line);
		next_field(&line);
		gid = next_field(&line);
		while (line && (member = strsep(&line, ",")))
			if (*gid && strcmp(member, user->name) == 0 &&
			    user->nr_groups < max)
				user->groups[user->nr_groups++] =
					(gid_t)strtoul(gid, NULL, 10);
	}
}

/* Without groups; NULL is root. */
static int find_user(const char *passwd, const char *who,
		     struct init_user *user)
{
	char *text, *end;
	bool found = false;
	unsigned long id;

	if (guest_read_file(passwd, &text, NULL) == 0) {
		found = find_passwd(text, who ? who : "root", user);
		free(text);
	}
	if (found)
		return 0;
	if (!who) {
		set_user(user, "root", 0, 0, "/root", "");
		return 0;
	}
	/* A number needs no entry, and gets its own group. */
	id = strtoul(who, &end, 10);
	if (*who < '0' || *who > '9' || *end || id >= UINT32_MAX)
		return -ENOENT;
	set_user(user, who, id, id, "/", "");
	return 0;
}

int guest_find_user(const char *passwd, const char *who, uint32_t *uid,
		    uint32_t *gid)
{
	struct init_user user;
	int err = find_user(passwd, who, &user);

	if (!err) {
		*uid = user.uid;
		*gid = user.gid;
	}
	return err;
}

int init_find_user(const char *who, struct init_user *user)
{
	int err = find_user("/etc/passwd", who, user);
	char *text;

	if (err)
		return err;
	if (guest_read_file("/etc/group", &text, NULL) == 0) {
		find_groups(text, user);
		free(text);
	} else {
		user->groups[user->nr_groups++] = user->gid;
	}
	return 0;
}
