/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_FSSERVER_ACL_H
#define VMSHARE_FSSERVER_ACL_H

/*
 * Access control lists in the format of system.posix_acl_*'s values. All
 * functions but acl_check() require a list that acl_check() accepted.
 */

#include "fsserver/owners/owners.h"

/** acl_check() - 0, or -EINVAL for a list that the kernel would refuse */
int acl_check(void *acl, size_t size);
/** acl_mode() - the permission bits that a file with this list has */
uint32_t acl_mode(void *acl, size_t size);
/** acl_is_mode() - does the list say no more than those bits? */
bool acl_is_mode(void *acl, size_t size);
/** acl_chmod() - change the list as chmod(2) to @mode does */
void acl_chmod(void *acl, size_t size, uint32_t mode);
/**
 * acl_inherit() - turn a directory's default list into that of a new file
 * @mode:	asked for by the creator
 *
 * Return: the mode that the file gets.
 */
uint32_t acl_inherit(void *acl, size_t size, uint32_t mode);

#endif
