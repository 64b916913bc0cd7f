"""Clips whose frames show their own number, written with PyAV."""

from fractions import Fraction

import av
import numpy as np

from s2vt.data.video_writer import VideoWriter

NUM_BITS = 8


def painted(index, width=64, height=48):
    """A frame that shows a number: one vertical stripe per bit, the highest on the left."""
    bits = [index >> k & 1 for k in reversed(range(NUM_BITS))]
    stripes = np.repeat(np.array(bits, np.uint8) * 255, -(-width // NUM_BITS))[:width]
    return np.ascontiguousarray(np.broadcast_to(stripes[None, :, None], (height, width, 3)))


def numbers(frames):
    """The numbers that `painted` frames show."""
    return [_number(frame) for frame in frames]


def _number(frame):
    starts = np.arange(NUM_BITS) * -(-frame.shape[1] // NUM_BITS)
    return int("".join(str(int(value > 127)) for value in frame[frame.shape[0] // 2, starts + 3, 1]), 2)


def write_clip(path, num_frames=20, codec="libx264", stamps=None, size=(64, 48), options=None, frame=painted):
    """A clip at 25 frames per second in codecs, containers and with time stamps that `VideoWriter` does not write.

    Args:
        stamps: of the frames, milliseconds.   options: of the codec.
        frame: number -> the frame, (H, W, 3) uint8.
    """
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        time_base = Fraction(1, 1000 if stamps else 25)
        stream.codec_context.time_base = time_base
        for i in range(num_frames):
            picture = av.VideoFrame.from_ndarray(frame(i, *size), format="rgb24")
            picture.pts, picture.time_base = stamps[i] if stamps else i, time_base
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def write_twenty(path):
    """20 painted frames, 64 x 48, 25 per second, as `VideoWriter` writes them: B frames among them, index first."""
    with VideoWriter(path, 64, 48, 25, threads=1) as video:
        for i in range(20):
            video.write(painted(i))
    return path


def packet_places(path):
    """(position, size) of each packet of a video file, in bytes."""
    with av.open(str(path)) as container:
        return [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]


def damage(source, target, which):
    """A copy in which the packets k with which(k) are overwritten."""
    content = bytearray(source.read_bytes())
    for k, (position, size) in enumerate(packet_places(source)):
        if which(k):
            content[position : position + size] = b"\xff" * size
    target.write_bytes(content)
    return target
