"""An SSH server by asyncssh: PORT HOST_KEY AUTHORIZED_KEYS."""

import asyncio
import subprocess
import sys

import asyncssh


class Server(asyncssh.SSHServer):
    def connection_requested(self, dest_host, dest_port, orig_host, orig_port):
        return True

    def unix_connection_requested(self, dest_path):
        return True


async def feed(process, stdin):
    try:
        while data := await process.stdin.read(65536):
            stdin.write(data)
            await stdin.drain()
        stdin.close()
    except (OSError, asyncssh.Error):
        pass


async def drain(source, stream):
    try:
        while data := await source.read(65536):
            stream.write(data)
            await stream.drain()
    except (OSError, asyncssh.Error):
        pass


async def run(process):
    child = await asyncio.create_subprocess_exec(
        "/bin/bash",
        "-c",
        process.command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    feeding = asyncio.create_task(feed(process, child.stdin))
    await asyncio.gather(drain(child.stdout, process.stdout), drain(child.stderr, process.stderr))
    status = await child.wait()
    feeding.cancel()
    if status < 0:
        process.exit_with_signal("KILL")
    else:
        process.exit(status)


async def main():
    port, host_key, authorized_keys = sys.argv[1:]
    await asyncssh.listen(
        "127.0.0.1",
        int(port),
        server_factory=Server,
        server_host_keys=[host_key],
        authorized_client_keys=authorized_keys,
        process_factory=run,
        encoding=None,
    )
    await asyncio.Event().wait()


asyncio.run(main())
