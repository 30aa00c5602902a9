"""Sliding windows of a minute that all gateway processes share, in Redis: one script, so that a request's limits are one step.

The same windows as those of `windows.py`, by the clock of Redis in microseconds: a process with a wrong clock does no harm. A
window is a hash (what was admitted, by when, and the total) beside a list (when, oldest first). If the clock of Redis steps back,
entries keep their order and free later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha1

from serving_ui.gateway.redis_connection import RedisConnection, RedisErrorReply, encoded
from serving_ui.gateway.windows import ENTRIES, SPAN, WIDTH, Ask, Full, Name

_US = 1000  # nanoseconds in one of Redis' ticks
_COMMON = f"""
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local span, entries, width = {SPAN // _US}, {ENTRIES}, {WIDTH // _US}
local function add(amounts, order, amount)
  local at = now
  if redis.call('LLEN', order) >= entries then at = math.ceil(now / width) * width end
  local newest = redis.call('LINDEX', order, -1)
  if newest and tonumber(newest) >= at then
    at = newest
  else
    at = string.format('%.0f', at)
    redis.call('RPUSH', order, at)
  end
  redis.call('HINCRBY', amounts, at, amount)
  redis.call('HINCRBY', amounts, 'total', amount)
  redis.call('PEXPIRE', amounts, 61000)
  redis.call('PEXPIRE', order, 61000)
  return at
end
"""
# KEYS: a hash and a list a window. ARGV: how much and the most, a window. Answers the entries, or "!", the fullest and its wait.
ADMIT = (
    _COMMON
    + """
local worst, longest = 0, 0
for n = 1, #KEYS / 2 do
  local amounts, order = KEYS[2 * n - 1], KEYS[2 * n]
  local amount, most = tonumber(ARGV[2 * n - 1]), tonumber(ARGV[2 * n])
  local oldest = redis.call('LINDEX', order, 0)
  while oldest and tonumber(oldest) <= now - span do
    redis.call('LPOP', order)
    redis.call('HINCRBY', amounts, 'total', -tonumber(redis.call('HGET', amounts, oldest) or 0))
    redis.call('HDEL', amounts, oldest)
    oldest = redis.call('LINDEX', order, 0)
  end
  local over = tonumber(redis.call('HGET', amounts, 'total') or 0) + amount - most
  if over > 0 then
    local wait, from = span, 0
    while over > 0 do
      local some = redis.call('LRANGE', order, from, from + 31)
      if #some == 0 then break end
      for _, at in ipairs(some) do
        over, wait = over - tonumber(redis.call('HGET', amounts, at) or 0), at + span - now
        if over <= 0 then break end
      end
      from = from + 32
    end
    if wait > longest then worst, longest = n, wait end
  end
end
if worst > 0 then return {ok = string.format('! %d %.0f', worst, longest)} end
local taken = {}
for n = 1, #KEYS / 2 do taken[n] = add(KEYS[2 * n - 1], KEYS[2 * n], tonumber(ARGV[2 * n - 1])) end
return {ok = table.concat(taken, ' ')}
"""
)
# KEYS as above. ARGV: how much was reserved and how much was used, then the entry of each window.
SETTLE = (
    _COMMON
    + """
local reserved, used = tonumber(ARGV[1]), tonumber(ARGV[2])
for n = 1, #KEYS / 2 do
  local amounts, order, at = KEYS[2 * n - 1], KEYS[2 * n], ARGV[n + 2]
  if used > reserved then
    add(amounts, order, used - reserved)
  elseif redis.call('HEXISTS', amounts, at) == 1 then
    redis.call('HINCRBY', amounts, at, used - reserved)
    redis.call('HINCRBY', amounts, 'total', used - reserved)
  end
end
return {ok = 'settled'}
"""
)
PREFIX = "serving_ui:limit"


@dataclass(frozen=True, slots=True)
class Taken:
    """The entries that a call has in shared windows, by the clock of Redis."""

    entries: tuple[tuple[Name, str], ...]

    def only(self, unit: str) -> Taken:
        """Those that count this unit."""
        return Taken(tuple(each for each in self.entries if each[0][2] == unit))


class SharedWindows:
    """The windows behind one connection. Its calls fail with RedisUnavailable when the connection does."""

    def __init__(self, line: RedisConnection, *, admit: str = ADMIT, settle: str = SETTLE) -> None:
        self.line = line
        self._admit, self._settle = _Script(admit), _Script(settle)

    async def take(self, asks: Mapping[Name, Ask]) -> Full | Taken:
        """Count a call in all windows, or in none and say which is full for longest."""
        names = list(asks)
        amounts = [str(number) for ask in asks.values() for number in (ask.amount, ask.most)]
        said = await self._run(self._admit, names, amounts)
        if said.startswith("!"):
            _, which, wait = said.split(" ")
            return Full(names[int(which) - 1], int(wait) * _US)
        return Taken(tuple(zip(names, said.split(" "), strict=True)))

    def settle(self, taken: Taken, *, reserved: int, used: int) -> None:
        """Sent and not waited for: what is lost with the connection stays counted as it was reserved."""
        names = [name for name, _ in taken.entries]
        entries = [entry for _, entry in taken.entries]
        if names:
            self.line.tell(self._settle.call(names, [str(reserved), str(used), *entries]))

    async def prepare(self) -> None:
        """Give Redis the scripts, so that none has to be sent again, and see that it takes what is written."""
        await self.line.ask(encoded("SET", f"{PREFIX}:check", "1", "PX", "1000"))
        for script in (self._admit, self._settle):
            await self.line.ask(script.whole([], []))

    async def _run(self, script: _Script, names: list[Name], words: list[str]) -> str:
        try:
            return (await self.line.ask(script.call(names, words))).decode()
        except RedisErrorReply as refused:
            if not str(refused).startswith("NOSCRIPT"):
                raise
        await self.prepare()  # somebody has flushed them
        return (await self.line.ask(script.call(names, words))).decode()


class _Script:
    """A script by its text, and by the digest that Redis knows it by once it has seen it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._digest = sha1(text.encode(), usedforsecurity=False).hexdigest()

    def call(self, names: list[Name], words: list[str]) -> bytes:
        return encoded("EVALSHA", self._digest, *_arguments(names, words))

    def whole(self, names: list[Name], words: list[str]) -> bytes:
        return encoded("EVAL", self._text, *_arguments(names, words))


def _arguments(names: list[Name], words: list[str]) -> list[str]:
    """In braces is what a Redis cluster places by: all windows of an endpoint are in one place."""
    keys = []
    for endpoint, whose, unit in names:
        window = f"{PREFIX}:{{{endpoint}}}:{whose}:{unit}"
        keys += [window, f"{window}:order"]
    return [str(len(keys)), *keys, *words]
