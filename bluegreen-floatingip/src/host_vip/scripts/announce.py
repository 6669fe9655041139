"""Tells a network who has an address: gratuitous ARP, or unsolicited neighbour advertisements."""

import socket
import struct
import sys
import time

interface, address, times, pause = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])

ARP = 0x0806
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ARP))
link.bind((interface, ARP))
hardware = link.getsockname()[4]

if ":" in address:
    target = socket.inet_pton(socket.AF_INET6, address)
    index = socket.if_nametoindex(interface)
    neighbours = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    neighbours.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
    neighbours.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
    neighbours.bind((address, 0))
    override = 0x20000000
    advertisement = struct.pack("!BBHI", 136, 0, 0, override) + target + struct.pack("!BB", 2, 1) + hardware

    def tell():
        neighbours.sendto(advertisement, ("ff02::1", 0, 0, index))

else:
    target = socket.inet_aton(address)
    everybody, nobody = b"\xff" * 6, b"\x00" * 6

    def arp(operation, receiver):
        ethernet = everybody + hardware + struct.pack("!H", ARP)
        return ethernet + struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + hardware + target + receiver + target

    # Some systems learn from requests only, some from replies only.
    frames = [arp(1, nobody), arp(2, everybody)]

    def tell():
        for frame in frames:
            link.send(frame)


for turn in range(times):
    if turn:
        time.sleep(pause)
    tell()
