"""What a set-up leaves out: tests of others, and nothing that is imported."""

from __future__ import annotations

from installer.slim import size_of, slim


def put(site, *names):
    for name in names:
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_bytes(b"0" * 1000)


def test_tests_go_and_all_else_stays(tmp_path):
    gone = ["torch/test/Dict_test", "torch/bin/test_api", "torch/bin/FileStoreTest", "torch/lib/libtorchbind_test.so",
            "scipy/stats/tests/data/a.npy", "numpy/core/tests/test_a.py", "sympy/core/tests/b.py"]  # fmt: skip
    stays = ["torch/testing/__init__.py", "torch/bin/torch_shm_manager", "torch/lib/libtorch_cpu.so",
             "torch/include/a.h", "numpy/testing/__init__.py", "scipy/stats/__init__.py",
             "cv2/tests/mine.py", "tests/other.py"]  # fmt: skip
    put(tmp_path, *gone, *stays)
    assert slim(tmp_path) == 1000 * len(gone)
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()) == sorted(
        stays
    )
    assert size_of(tmp_path) == 1000 * len(stays)
    assert slim(tmp_path) == 0


def test_nothing_is_there_to_remove(tmp_path):
    assert slim(tmp_path / "nowhere") == 0
