"""Vim in a terminal of its own, with one plug-in: keys go in, the saved file comes out."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fakes.live_gateway import PATIENCE_S

# The plug-in says whether a suggestion is shown; the mark file tells it to the test.
_VIMRC = """
set nocompatible nobackup noswapfile viminfo= noautoindent backspace=indent,eol,start
{config}
let &runtimepath .= ',' . {plugin}
source {plugin_file}
function! s:mark(timer)
  if llama#is_fim_hint_shown()
    if !filereadable({shown}) | call writefile([], {shown}) | endif
  else
    call delete({shown})
  endif
endfunction
call timer_start(20, function('s:mark'), {{'repeat': -1}})
"""


class Vim:
    """One running Vim on one file."""

    def __init__(self, folder: Path, plugin: Path, text: str, config: str) -> None:
        self.file = folder / "total.py"
        self.file.write_text(text, encoding="utf-8")
        self._shown = folder / "shown"
        vimrc = folder / "vimrc"
        vimrc.write_text(
            _VIMRC.format(
                config=config,
                plugin=json.dumps(str(plugin)),
                plugin_file=plugin / "plugin" / "llama.vim",
                shown=json.dumps(str(self._shown)),
            ),
            encoding="utf-8",
        )
        vim = shutil.which("vim")
        assert vim
        self._terminal, other = pty.openpty()
        self.process = subprocess.Popen(
            [vim, "-u", str(vimrc), "-i", "NONE", "-n", str(self.file)],
            cwd=folder,
            stdin=other,
            stdout=other,
            stderr=other,
            env={"HOME": str(folder), "PATH": "/usr/local/bin:/usr/bin:/bin", "TERM": "xterm"},
            start_new_session=True,
        )
        os.close(other)
        # A terminal that nobody reads blocks Vim.
        self._reader = threading.Thread(target=self._drain, name="vim-terminal")
        self._reader.start()

    def press(self, keys: str) -> None:
        os.write(self._terminal, keys.encode())

    def wait_shown(self) -> None:
        """Wait until a suggestion is shown."""
        begun = time.monotonic()
        while not self._shown.exists():
            assert time.monotonic() - begun < PATIENCE_S, "no suggestion was shown"
            time.sleep(0.01)

    def save(self) -> str:
        """Leave Vim; the text it saved."""
        self.press("\x1b:wq\r")
        self.process.wait(PATIENCE_S)
        return self.file.read_text(encoding="utf-8")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        os.close(self._terminal)

    def _drain(self) -> None:
        try:
            while os.read(self._terminal, 65536):
                pass
        except OSError:  # Linux's way to say that the other side is closed
            return


@contextmanager
def vim_with_llama(folder: Path, text: str, config: str) -> Iterator[Vim]:
    """Run Vim with llama.vim from `LLAMA_VIM`; `config` is all there is of a vimrc."""
    vim = Vim(folder, Path(os.environ["LLAMA_VIM"]), text, config)
    try:
        yield vim
    finally:
        vim.close()
