# Makes the configuration of a service out of etc/imapproxy.conf: what init, systemd, logrotate and fail2ban rely on, and
# whom the workers become, is set; all else stands at its default.
s|^#user =.*|user = imapproxy|
s|^#group =.*|group = imapproxy|
s|^#pidfile =.*|pidfile = /run/imapproxy/imapproxy.pid|
s|^#control-socket =.*|control-socket = /run/imapproxy/control|
s|^#journal =.*|journal = /var/lib/imapproxy/journal|
s|^#log-to =.*|log-to = /var/log/imapproxy/imapproxy.log|
