// SPDX-License-Identifier: GPL-2.0-only
/* The tracepoints, made once. */
#define CREATE_TRACE_POINTS
#include <trace/events/ipsec_v3.h>
