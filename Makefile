# What a developer types. Every target does its own set-up: Python packages go into .venv and nowhere else; Debian
# packages with the servers and clients that tests and benchmark run are installed if root types it, else named.

PYTHON := $(or $(wildcard /usr/bin/python3),python3)
BIN := .venv/bin

# What the program imports beyond Python's own, as Debian calls it; setup.py and debian/control say the same.
RUN_PACKAGES := python3-configargparse python3-daemon python3-idna python3-prometheus-client

DEB_PACKAGES := build-essential dpkg-dev debhelper dh-python

# fakeroot: an ordinary user's Postfix must believe that it is root.
# libsasl2-modules: Cyrus's PLAIN and LOGIN.
# mmdebstrap: it makes the throw-away Debian on which the package is installed.
# libmailtools-perl: without it git-email takes no comment in an address, and it only recommends it.
TEST_PACKAGES := dovecot-imapd postfix fakeroot isync mutt curl groff-base haproxy mmdebstrap systemd \
	git git-email libmailtools-perl mailutils bsd-mailx libsasl2-modules fail2ban \
	$(DEB_PACKAGES)
# Debian's Cyrus and Courier conflict with its Dovecot, its Exim with its Postfix: they are unpacked, and run from there.
# gamin: without it Courier waits 1.3 seconds at each lock. libnss-wrapper: Exim needs an account called Debian-exim.
UNPACKED_PACKAGES := cyrus-imapd cyrus-common sasl2-bin courier-imap courier-base courier-authlib gamin \
	exim4-daemon-light exim4-config libnss-wrapper
BENCH_PACKAGES := nginx libnginx-mod-mail haproxy dovecot-imapd postfix fakeroot

# Where 'make install' puts the programs; DESTDIR goes before all of it. The service is known by these places in /etc to
# init and systemd, and to logrotate and fail2ban.
PREFIX := /usr/local
SYSCONFDIR := /etc
UNITDIR := $(SYSCONFDIR)/systemd/system
TO_PROGRAM = $(DESTDIR)$(PREFIX)/share/imapproxy
TO_ETC = $(DESTDIR)$(SYSCONFDIR)
TO_MAN = $(DESTDIR)$(PREFIX)/share/man
TO_DOC = $(DESTDIR)$(PREFIX)/share/doc/imapproxy
FOR_PREFIX = sed -E 's,/usr/(bin|share|share/doc)/imap,$(PREFIX)/\1/imap,'
INSTALL := install -m 755
INSTALL_DATA := install -m 644

BUILD := build
DIST := dist
SERVERS := build/servers

# In bin; their names do not tell ruff that they are Python.
COMMANDS := imap-submit imapproxy
STYLED := . $(addprefix bin/,$(COMMANDS))

.PHONY: help demo test lint types packages bench soak faults fuzz format clean uninstall deb
.PHONY: install install-needs install-program install-service install-account

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' Makefile | expand -t 16

demo: .venv/demo.stamp ## send mail through the proxy between embedded servers; KEEP=1 leaves them running
	@$(BIN)/python docs/demo/demo.py

# The last step is silent if the pure folders are covered whole: pytest's own summary is the last line.
test: lint types packages ## style, types, all tests with real servers and clients, coverage
	@$(BIN)/pytest --cov --numprocesses 2 --dist loadfile
	@report=$$($(BIN)/coverage report --include 'imapproxy/protocol/*,imapproxy/message/*' --fail-under 100) \
		|| { echo "$$report"; exit 1; }

lint: .venv/test.stamp ## style only
	@$(BIN)/ruff check $(STYLED)
	@$(BIN)/ruff format --check $(STYLED)

types: .venv/test.stamp ## types only
	@$(BIN)/mypy --strict

# Tests whose packages are missing are skipped and say so; in CI that is a failure.
packages: ## Debian packages for the tests, as root
	@tests/setup/install-packages $(TEST_PACKAGES) || test -z "$$CI"
	@tests/setup/unpack-packages $(SERVERS) $(UNPACKED_PACKAGES) || test -z "$$CI"

bench: .venv/test.stamp ## measure the proxy beside nginx, HAProxy and a classic client; ARGS=--help for its options
	@tests/setup/install-packages $(BENCH_PACKAGES) || true
	@$(BIN)/python -m bench $(ARGS)

soak: .venv/test.stamp packages ## hundreds of clients come and go for SECONDS=600; every octet and every leak counts
	@$(BIN)/python -m bench.soak $(or $(SECONDS),600)

faults: .venv/test.stamp ## break a submission at every step, and BREAKS=500 times at random by SEED=; count what arrived
	@$(BIN)/python -m tests.faults $(if $(BREAKS),--breaks $(BREAKS)) $(if $(SEED),--seed '$(SEED)') $(ARGS)

fuzz: .venv/test.stamp ## throw octets at what reads them, for SECONDS=60 in all; TARGET= for some of the targets
	@$(BIN)/python -m tests.fuzz $(or $(SECONDS),60) $(TARGET)

format: .venv/test.stamp ## let ruff mend the style
	@$(BIN)/ruff check --fix $(STYLED)
	@$(BIN)/ruff format $(STYLED)

# With DESTDIR it only writes files, as a packager wants it; see debian/rules.
install: install-needs install-program install-service install-account ## as a service; PREFIX=/usr/local, DESTDIR=
	@test -n "$(DESTDIR)" || echo "Installed. Next: edit $(SYSCONFDIR)/imapproxy/imapproxy.conf, then" \
		"'systemctl enable --now imapproxy', or 'update-rc.d imapproxy defaults && service imapproxy start'."

install-needs:
	@test -n "$(DESTDIR)" || $(PYTHON) -c 'import configargparse, daemon, idna, prometheus_client' 2>/dev/null \
		|| tests/setup/install-packages $(RUN_PACKAGES)

# Python looks for modules where the file lies that a link names: the package stands beside the commands.
install-program: install-needs
	@rm -rf $(TO_PROGRAM)/imapproxy
	@$(INSTALL) -d $(TO_PROGRAM) $(DESTDIR)$(PREFIX)/bin $(addprefix $(TO_MAN)/man,1 5 8) $(TO_DOC)/examples
	@find imapproxy -type f \( -name '*.py' -o -name py.typed \) -exec $(INSTALL_DATA) -D '{}' '$(TO_PROGRAM)/{}' \;
	@set -e; for command in $(COMMANDS); do \
		sed -e '1s|^#!.*python3$$|#!$(PYTHON)|' -e 's|^python=.*|python=$(PYTHON)|' bin/$$command \
			| $(INSTALL) /dev/stdin $(TO_PROGRAM)/$$command-command; \
		ln -sf ../share/imapproxy/$$command-command $(DESTDIR)$(PREFIX)/bin/$$command; done
	@test -n "$(DESTDIR)" || $(PYTHON) -m compileall -q $(TO_PROGRAM)
	@$(FOR_PREFIX) docs/man/imap-submit.1 | $(INSTALL_DATA) /dev/stdin $(TO_MAN)/man1/imap-submit.1
	@$(INSTALL_DATA) docs/man/imapproxy.conf.5 $(TO_MAN)/man5
	@$(INSTALL_DATA) docs/man/imapproxy.8 $(TO_MAN)/man8
	@$(INSTALL_DATA) etc/imap-submit.conf $(TO_DOC)/examples

# What the administrator may have changed is left alone.
install-service: install-program
	@$(INSTALL) -d $(addprefix $(TO_ETC)/,imapproxy init.d logrotate.d fail2ban/filter.d fail2ban/jail.d) \
		$(DESTDIR)$(UNITDIR)
	@$(FOR_PREFIX) etc/imapproxy.init | $(INSTALL) /dev/stdin $(TO_ETC)/init.d/imapproxy
	@$(FOR_PREFIX) etc/imapproxy.service | $(INSTALL_DATA) /dev/stdin $(DESTDIR)$(UNITDIR)/imapproxy.service
	@$(INSTALL_DATA) etc/fail2ban/filter.d/imapproxy.conf $(TO_ETC)/fail2ban/filter.d
	@for file in fail2ban/jail.d/imapproxy.conf logrotate.d/imapproxy; do \
		test -e $(TO_ETC)/$$file || $(INSTALL_DATA) etc/$$file $(TO_ETC)/$$file; done
	@test -e $(TO_ETC)/imapproxy/imapproxy.conf || sed -f etc/service.sed etc/imapproxy.conf \
		| $(INSTALL_DATA) /dev/stdin $(TO_ETC)/imapproxy/imapproxy.conf
	@test -n "$(DESTDIR)" || test ! -d /run/systemd/system || systemctl daemon-reload

install-account: install-program
	@$(INSTALL) etc/make-account $(TO_PROGRAM)/make-account
	@test -n "$(DESTDIR)" || test "$$(id -u)" != 0 || $(TO_PROGRAM)/make-account

uninstall: ## remove what install put there, but for configuration, log, state and user
	rm -rf $(TO_PROGRAM) $(TO_DOC)
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/bin/,$(COMMANDS)) \
		$(addprefix $(TO_MAN)/,man1/imap-submit.1 man5/imapproxy.conf.5 man8/imapproxy.8) \
		$(DESTDIR)$(UNITDIR)/imapproxy.service $(TO_ETC)/init.d/imapproxy \
		$(TO_ETC)/fail2ban/filter.d/imapproxy.conf
	@for file in fail2ban/jail.d/imapproxy.conf logrotate.d/imapproxy; do \
		! cmp -s etc/$$file $(TO_ETC)/$$file || rm $(TO_ETC)/$$file; done

# Built from a copy, since dpkg-buildpackage writes into its tree and beside it.
deb: ## build dist/imapproxy_VERSION_all.deb for Debian 12
	@tests/setup/install-packages $(DEB_PACKAGES)
	@rm -rf $(BUILD)/deb && mkdir -p $(BUILD)/deb/imapproxy $(DIST)
	@cp -R Makefile *.md LICENSE bin debian docs etc imapproxy setup.py $(BUILD)/deb/imapproxy
	@cd $(BUILD)/deb/imapproxy && env --unset=MAKEFLAGS dpkg-buildpackage --build=binary --no-sign >../build.log 2>&1 \
		|| { cat ../build.log; exit 1; }
	@cp $(BUILD)/deb/*.deb $(DIST) && ls $(DIST)/imapproxy_*.deb

clean: ## remove everything that make made
	rm -rf .venv build dist *.egg-info .coverage htmlcov .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/pip:
	@tests/setup/make-venv $(PYTHON) .venv

.venv/demo.stamp: setup.py pyproject.toml | .venv/bin/pip
	@$(BIN)/pip install --quiet --editable '.[demo]'
	@touch $@

.venv/test.stamp: setup.py pyproject.toml | .venv/bin/pip
	@$(BIN)/pip install --quiet --editable '.[demo,test]'
	@touch $@ .venv/demo.stamp
