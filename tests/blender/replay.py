"""A backend that plays prepared results over a real socket, as fast as asked: for what no machine computes in seconds.

    python -m blender.replay --frames 10000 --chunk 32 --pause 0.02

Prints its endpoint as one JSON line. Answers `resume` with the body, the motion in chunks and then as final result,
`points` with as many points as were asked for over the same frames, and ends after `bye`.
"""

import argparse
import json
import os
import subprocess
import sys
import time

import numpy as np
import zmq

from blender_addon.link.client import Client
from blender_addon.shared import wire
from blender_addon.shared.home import Endpoint

from .people import ROOT, motion, open_body


class Replay:
    """The backend as `VideoImport` and its like want it; starts and stops the child process."""

    def __init__(self, frames: int, *, chunk: int = 32, pause_s: float = 0.0, seed: int = 0) -> None:
        numbers = ("--frames", frames, "--chunk", chunk, "--pause", pause_s, "--seed", seed)
        command = [sys.executable, "-m", "blender.replay", *map(str, numbers)]
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), *sys.path])}
        self._child = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True)
        port = json.loads(self._child.stdout.readline())["port"]
        endpoint = Endpoint(f"tcp://127.0.0.1:{port}", "token", self._child.pid, wire.VERSION)
        self._client = Client(endpoint)

    def pump(self, budget_s: float) -> Client:
        self._client.pump(budget_s)
        return self._client

    def keep_alive(self) -> None:
        self._client.pump(0.0)

    def close(self) -> None:
        self._client.close(stop=True)
        try:
            self._child.wait(5)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


class Server:
    """One client, one job at a time."""

    def __init__(self, a: argparse.Namespace) -> None:
        self.socket = zmq.Context().socket(zmq.ROUTER)
        self.port = self.socket.bind_to_random_port("tcp://127.0.0.1")
        self.motion, self.chunk, self.pause_s, self.seq = motion(a.frames, seed=a.seed), a.chunk, a.pause, 0

    def say(self, peer: bytes, asked: wire.Message, kind: str, arrays=None, **fields) -> None:
        self.seq += 1
        more = {} if kind in ("capabilities", "pong") else {"reply": asked.seq}
        self.socket.send_multipart([peer, *wire.pack(kind, asked.job, self.seq, arrays, **more, **fields)])

    def serve(self) -> None:
        """Until somebody says bye."""
        while True:
            if not self.socket.poll(60_000):
                # The other end pings every few seconds as long as it lives.
                return
            peer, *frames = self.socket.recv_multipart()
            asked = wire.unpack(frames)
            if asked.type == "bye":
                return
            if asked.type == "hello":
                self.say(peer, asked, "capabilities", device="replay")
            elif asked.type == "ping":
                self.say(peer, asked, "pong")
            elif asked.type == "resume":
                self.results(peer, asked)
            elif asked.type == "points":
                self.points(peer, asked)

    def results(self, peer: bytes, asked: wire.Message) -> None:
        count = len(self.motion.frames)
        self.say(peer, asked, "opened", next_frame=count)
        body = open_body()
        arrays = {name: getattr(body, name) for name in wire.BODY}
        arrays["landmarks"] = np.zeros((33, 3), np.float32)
        arrays["joints_exprdirs"] = np.zeros((55, 3, body.exprdirs.shape[-1]), np.float32)
        arrays = {name: np.asarray(arrays[name], wire.BODY[name][0]) for name in wire.BODY}
        texts = {name: getattr(body, name) for name in ("name", "joint_names", "licence_note")}
        self.say(
            peer,
            asked,
            "body",
            {n: np.asarray(arrays[n], wire.BODY[n][0]) for n in wire.BODY},
            landmark_names=[],
            **texts,
        )
        for first in range(0, count, self.chunk):
            self.result(peer, asked, slice(first, first + self.chunk), final=False)
            time.sleep(self.pause_s)
        self.result(peer, asked, slice(None), final=True)
        self.say(peer, asked, "done", summary={})

    def result(self, peer: bytes, asked: wire.Message, rows: slice, final: bool) -> None:
        arrays = {}
        for name, (dtype, dims) in wire.RESULT.items():
            array = getattr(self.motion, name)
            arrays[name] = np.asarray(array[rows] if dims[0] == "n" else array, dtype)
        if final:
            # As smoothing over the whole clip does: every key has another value than before.
            arrays["pose"] = arrays["pose"] * np.float32(0.99)
        camera = {
            name: getattr(self.motion.camera, name) for name in ("width", "height", "fx", "fy", "cx", "cy")
        }
        self.say(peer, asked, "result", arrays, track=1, final=final, camera=camera)

    def points(self, peer: bytes, asked: wire.Message) -> None:
        count = len(asked.fields["points"])
        places = self.motion.joints[:, np.arange(count) % 55]
        arrays = {
            "frames": self.motion.frames.astype(np.int32),
            "times": self.motion.times.astype(np.float64),
            "positions": np.ascontiguousarray(places, np.float32),
            "uncertainty": np.full(places.shape[:2], 0.02, np.float32),
        }
        self.say(peer, asked, "points", arrays, track=1, first=0, last=True)
        self.say(peer, asked, "done", summary={})


def main() -> None:
    """Serve until the client has gone."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, required=True)
    parser.add_argument("--chunk", type=int, default=32)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    server = Server(parser.parse_args())
    print(json.dumps({"port": server.port}), flush=True)
    server.serve()


if __name__ == "__main__":
    main()
