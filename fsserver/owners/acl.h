/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_FSSERVER_ACL_H
#define VMSHARE_FSSERVER_ACL_H

/*
 * Access control lists in the form of system.posix_acl_*'s values. All but
 * acl_check() want one that it found in order.
 */

#include "fsserver/owners/owners.h"

/** acl_check() - 0, or -EINVAL for what no kernel takes as a list */
int acl_check(void *acl, size_t size);
/** acl_mode() - the permission bits that a file with this list has */
uint32_t acl_mode(void *acl, size_t size);
/** acl_is_mode() - whether it says no more than those bits do */
bool acl_is_mode(void *acl, size_t size);
/** acl_chmod() - change the list as chmod(2) to @mode does */
void acl_chmod(void *acl, size_t size, uint32_t mode);
/**
 * acl_inherit() - make a directory's default list that of a new file
 * @mode:	what the creator asked for
 *
 * Return: the mode that the file gets.
 */
uint32_t acl_inherit(void *acl, size_t size, uint32_t mode);

#endif
