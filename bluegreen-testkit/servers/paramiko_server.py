"""An SSH server by paramiko: PORT HOST_KEY AUTHORIZED_KEYS."""

import socket
import subprocess
import sys
import threading

import paramiko


class Server(paramiko.ServerInterface):
    def __init__(self, keys):
        self.keys = keys
        self.destinations = {}

    def get_allowed_auths(self, username):
        return "publickey"

    def check_auth_publickey(self, username, key):
        known = key.get_base64() in self.keys
        return paramiko.AUTH_SUCCESSFUL if known else paramiko.AUTH_FAILED

    def check_channel_request(self, kind, chanid):
        if kind == "session":
            return paramiko.OPEN_SUCCEEDED
        return paramiko.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED

    def check_channel_exec_request(self, channel, command):
        begin(run, channel, command)
        return True

    def check_channel_direct_tcpip_request(self, chanid, origin, destination):
        self.destinations[chanid] = destination
        return paramiko.OPEN_SUCCEEDED


def begin(function, *args):
    threading.Thread(target=function, args=args, daemon=True).start()


def run(channel, command):
    child = subprocess.Popen(
        ["/bin/bash", "-c", command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        start_new_session=True,
    )

    def feed():
        try:
            while data := channel.recv(65536):
                child.stdin.write(data)
            child.stdin.close()
        except OSError:
            pass

    def drain(source, send):
        try:
            while data := source.read(65536):
                send(data)
        except OSError:
            pass

    begin(feed)
    streams = [(child.stdout, channel.sendall), (child.stderr, channel.sendall_stderr)]
    threads = [threading.Thread(target=drain, args=stream, daemon=True) for stream in streams]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    status = child.wait()
    channel.send_exit_status(status if status >= 0 else 128 - status)
    channel.close()


def forward(channel, destination):
    try:
        server = socket.create_connection(destination)
    except OSError:
        channel.close()
        return

    def up():
        while data := channel.recv(65536):
            server.sendall(data)
        server.shutdown(socket.SHUT_WR)

    begin(up)
    while data := server.recv(65536):
        channel.sendall(data)
    channel.close()


def serve(client, host_key, keys):
    transport = paramiko.Transport(client)
    transport.add_server_key(host_key)
    server = Server(keys)
    transport.start_server(server=server)
    channels = []
    while transport.is_active():
        channel = transport.accept(1)
        # One that nobody holds is closed.
        channels.append(channel)
        destination = channel and server.destinations.pop(channel.get_id(), None)
        if destination:
            begin(forward, channel, destination)


def main():
    port, host_key, authorized_keys = sys.argv[1:]
    with open(authorized_keys) as file:
        keys = {line.split()[1] for line in file if line.strip()}
    host_key = paramiko.Ed25519Key(filename=host_key)
    listener = socket.create_server(("127.0.0.1", int(port)))
    while True:
        client, _ = listener.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        begin(serve, client, host_key, keys)


main()
