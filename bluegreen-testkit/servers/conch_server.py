"""An SSH server by Conch: PORT HOST_KEY AUTHORIZED_KEYS."""

import getpass
import sys

from twisted.conch.checkers import InMemorySSHKeyDB, SSHPublicKeyChecker
from twisted.conch.interfaces import ISession
from twisted.conch.ssh.factory import SSHFactory
from twisted.conch.ssh.keys import Key
from twisted.conch.unix import SSHSessionForUnixConchUser, UnixConchUser, UnixSSHRealm
from twisted.cred.portal import Portal
from twisted.internet import reactor
from twisted.python import components


class QuickShell(SSHSessionForUnixConchUser):
    """Debian's bash reads `~/.bashrc` for the first shell of a session, for every command. This makes it the second."""

    def __init__(self, avatar):
        super().__init__(avatar)
        self.environ["SHLVL"] = "1"


components.ALLOW_DUPLICATES = True
components.registerAdapter(QuickShell, UnixConchUser, ISession)


def main():
    port, host_key, authorized_keys = sys.argv[1:]
    with open(authorized_keys, "rb") as file:
        keys = [Key.fromString(line) for line in file if line.strip()]
    host_key = Key.fromFile(host_key)
    factory = SSHFactory()
    factory.portal = Portal(UnixSSHRealm())
    user = getpass.getuser().encode()
    factory.portal.registerChecker(SSHPublicKeyChecker(InMemorySSHKeyDB({user: keys})))
    factory.publicKeys = {host_key.sshType(): host_key.public()}
    factory.privateKeys = {host_key.sshType(): host_key}
    reactor.listenTCP(int(port), factory, interface="127.0.0.1")
    reactor.run()


main()
