// SPDX-License-Identifier: GPL-2.0
/*
 * Functions for what bindgen cannot see: inline functions and macros. One file
 * per subsystem, sorted.
 */
#include "bindings_helper.h"

/* bindgen reads this file too: it must see the functions as global there. */
#define __rust_helper

#include "acl.c"
#include "crypto.c"
#include "filelock.c"
#include "fs.c"
#include "keys.c"
#include "mm.c"
#include "net.c"
#include "sync.c"
