# SPDX-License-Identifier: GPL-2.0-only
#
# Wraps kbuild, whose file is Kbuild: make -C /lib/modules/RELEASE/build M=$PWD
# modules works as well.

KVER ?= $(shell test -e /lib/modules/$$(uname -r)/build && uname -r || \
	ls -d /lib/modules/*/build 2>/dev/null | sort -V | sed -n 's|/lib/modules/\(.*\)/build|\1|;$$p')
KDIR = /lib/modules/$(KVER)/build
DESTDIR ?=
MODPROBE_D ?= /etc/modprobe.d
VERSION := $(shell sed -n 's/^MODULE_VERSION("\(.*\)");$$/\1/p' net/ipsec_v3/main.c)
DKMS = ipsec_v3/$(VERSION)
DKMS_SRC = $(DESTDIR)/usr/src/ipsec_v3-$(VERSION)
DKMS_FILES = Kbuild Makefile dkms.conf COPYING include net packaging/modprobe.d

SETUP = tools/testing/vm/setup
CHECK = tools/testing/check
FAULTS = flight shortage reboot async life

all: modules ## the module (same as modules)

modules: kdir ## ipsec_v3.ko for KVER=RELEASE (default: the running kernel, else the newest with headers)
	$(MAKE) -C $(KDIR) M=$(CURDIR) modules

kdir:
	@test -f "$(KDIR)/Makefile" || { \
		echo "no kernel headers at $(KDIR); install them with: apt-get install linux-headers-$(or $(KVER),amd64)" >&2; exit 1; }

install: booted modules ## install the module and the modprobe.d file that puts it before the in-tree ones (DESTDIR=)
	$(MAKE) -C $(KDIR) M=$(CURDIR) INSTALL_MOD_PATH=$(DESTDIR) modules_install
	$(if $(DESTDIR),,depmod $(KVER))
	install -D -m 644 packaging/modprobe.d/ipsec_v3.conf $(DESTDIR)$(MODPROBE_D)/ipsec_v3.conf

# in-tree would be shut out of a kernel that does not have the module
booted:
	@test -n "$(DESTDIR)$(filter-out file,$(origin KVER) $(origin KDIR))" || test -z "$(KVER)" || test "$(KVER)" = "$$(uname -r)" || { \
		echo "this would be installed for $(KVER), but $$(uname -r) is running: apt-get install linux-headers-$$(uname -r), or say KVER=$(KVER)" >&2; exit 1; }

uninstall: ## take both away again
	rm -f $(DESTDIR)$(MODPROBE_D)/ipsec_v3.conf
	find $(DESTDIR)/lib/modules/$(KVER)/ -name 'ipsec_v3.ko*' -delete
	$(if $(DESTDIR),,depmod $(KVER))

clean: ## remove what make modules and the tests made (the cache of kernels built for the tests stays)
	-test ! -f "$(KDIR)/Makefile" || $(MAKE) -C $(KDIR) M=$(CURDIR) clean
	rm -rf build

demo: ## show it at work: boots the newest stock kernel, two hosts, ESP and AH, proof on the wire
	@$(SETUP) build vm
	@tools/testing/demo

check: ## everything that proves the module, on both stock kernels and those built for the tests
	@$(SETUP) all
	@$(CHECK)

faults: ## what goes wrong on a bad day, with packets in flight: on the stock kernels, and where memory fails on the debug kernel
	@$(SETUP) build vm debug
	@IPSEC_FAULTS=long $(CHECK) debug-kernel $(addprefix selftests-6.12/,$(FAULTS) spread) \
		$(addprefix selftests-6.1/,$(FAULTS)) $(addprefix selftests-debug/,$(FAULTS) drops refuse spread) \
		four-cpus

soak: ## load over a bad link, each datagram checked (IPSEC_MINUTES=30, IPSEC_FLOWS=10000); a third of it also in lanes, and with kmemleak
	@$(SETUP) build vm debug
	@IPSEC_MINUTES=$${IPSEC_MINUTES:-30} IPSEC_FLOWS=$${IPSEC_FLOWS:-10000} \
		$(CHECK) debug-kernel selftests-6.12/soak always-spread/soak selftests-debug/soak

style: ## static checks: W=1, sparse, clang, checkpatch, kernel-doc, lengths, spelling
	@$(SETUP) style debug
	@tools/testing/style

kunit: ## unit tests of the pure files, with the RFCs' vectors, in the debug kernel
	@$(SETUP) vm debug
	@$(CHECK) debug-kernel kunit

fuzz: ## libFuzzer on the pure sources (FUZZ_SECONDS=60 each), a million hostile packets (IPSEC_PACKETS=21500 a case) and configurations (IPSEC_CONFIGS=600 a case) under KASAN, a tenth of the packets with lockdep and kmemleak, and once more in lanes
	@$(SETUP) fuzz build vm debug
	@FUZZ_SECONDS=$${FUZZ_SECONDS:-60} IPSEC_PACKETS=$${IPSEC_PACKETS:-21500} \
		IPSEC_CONFIGS=$${IPSEC_CONFIGS:-600} \
		$(CHECK) debug-kernel uml-kernel fuzz selftests-uml-kasan \
			selftests-debug/hostile selftests-debug/ownership selftests-debug/config \
			always-spread always-spread-debug

selftests: ## the selftests on 6.12
	@$(SETUP) build vm
	@$(CHECK) selftests-6.12

interop: ## strongSwan and libreswan over the module, with each other; writes the table in interop.rst
	@$(SETUP) build vm ike
	@IPSEC_INTEROP=long $(CHECK) interop; status=$$?; tools/testing/interop/table; exit $$status

bench: ## side by side with in-tree, pcrypt and WireGuard: tables and plots for performance.rst
	@$(SETUP) build vm bench debug
	@tools/testing/bench/run --out Documentation/networking/ipsec_v3/performance

docs: ## the documentation as HTML in build/docs
	@$(SETUP) build docs
	@Documentation/build

deb: ## the Debian package ipsec-v3-dkms in build/
	@$(SETUP) deb
	@packaging/debian/build

dkms-install: ## hand the sources to DKMS, which rebuilds the module for every new kernel
	@command -v dkms > /dev/null || { echo "no dkms here; install it with: apt-get install dkms" >&2; exit 1; }
	$(MAKE) dkms-source
	dkms install --force $(DKMS) -k $(KVER)
	install -D -m 644 packaging/modprobe.d/ipsec_v3.conf $(DESTDIR)$(MODPROBE_D)/ipsec_v3.conf

dkms-source:
	rm -rf $(DKMS_SRC)
	mkdir -p $(DKMS_SRC)
	tar -c --exclude='*.o' --exclude='*.cmd' --exclude='*.mod*' $(DKMS_FILES) | tar -x -C $(DKMS_SRC)

dkms-uninstall: ## take it away again
	dkms remove $(DKMS) --all
	rm -rf $(DKMS_SRC) $(DESTDIR)$(MODPROBE_D)/ipsec_v3.conf

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s%s\n", $$1, $$2 }' Makefile

.PHONY: all modules kdir booted install uninstall clean demo check faults soak style kunit fuzz selftests \
	interop bench docs deb dkms-install dkms-source dkms-uninstall help
