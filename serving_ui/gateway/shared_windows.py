"""Sliding windows of one minute that all gateway processes share, in Redis. One Lua script admits a call to all its windows.

They behave as those of `windows.py`, but by the clock of Redis in microseconds, so that a process with a wrong clock does no harm.
A window is a hash (amount by entry time, and `total`) and a list (entry times, oldest first). If the clock of Redis steps back,
entries keep their order and expire later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha1

from serving_ui.gateway.redis_connection import RedisConnection, RedisErrorReply, encode_command
from serving_ui.gateway.windows import BUCKET_NS, MAX_ENTRIES, WINDOW_NS, Demand, WindowFull, WindowKey

_NS_PER_US = 1000
_COMMON = f"""
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local span, entries, width = {WINDOW_NS // _NS_PER_US}, {MAX_ENTRIES}, {BUCKET_NS // _NS_PER_US}
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
# KEYS: hash and list of each window. ARGV: amount and limit of each window.
# Returns the entry times, or "! N WAIT": the number of the window with the longest wait, and that wait in microseconds.
ADMIT = (
    _COMMON
    + """
local worst, longest = 0, 0
for n = 1, #KEYS / 2 do
  local amounts, order = KEYS[2 * n - 1], KEYS[2 * n]
  local amount, limit = tonumber(ARGV[2 * n - 1]), tonumber(ARGV[2 * n])
  local oldest = redis.call('LINDEX', order, 0)
  while oldest and tonumber(oldest) <= now - span do
    redis.call('LPOP', order)
    redis.call('HINCRBY', amounts, 'total', -tonumber(redis.call('HGET', amounts, oldest) or 0))
    redis.call('HDEL', amounts, oldest)
    oldest = redis.call('LINDEX', order, 0)
  end
  local over = tonumber(redis.call('HGET', amounts, 'total') or 0) + amount - limit
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
# KEYS as above. ARGV: amounts reserved and used, then the entry time of each window.
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
class SharedEntries:
    """The entries of one call in shared windows: (window, entry time as Redis gave it)."""

    entries: tuple[tuple[WindowKey, str], ...]

    def only(self, unit: str) -> SharedEntries:
        """Those of windows that count this unit."""
        return SharedEntries(tuple(entry for entry in self.entries if entry[0][2] == unit))


class SharedWindows:
    """The windows behind one connection. Calls fail with RedisUnavailable when the connection does."""

    def __init__(self, connection: RedisConnection, *, admit: str = ADMIT, settle: str = SETTLE) -> None:
        self.connection = connection
        self._admit, self._settle = _Script(admit), _Script(settle)

    async def prepare(self) -> None:
        """Load the scripts into Redis, and check that it accepts writes."""
        await self.connection.call(encode_command("SET", f"{PREFIX}:check", "1", "PX", "1000"))
        for script in (self._admit, self._settle):
            await self.connection.call(script.eval([], []))

    async def admit(self, demands: Mapping[WindowKey, Demand]) -> WindowFull | SharedEntries:
        """Count a call in all windows if all have room; else in none, and return the one with the longest wait."""
        keys = list(demands)
        amounts = [
            str(number) for demand in demands.values() for number in (demand.amount, demand.per_minute)
        ]
        result = await self._run(self._admit, keys, amounts)
        if result.startswith("!"):
            _, number, wait = result.split(" ")
            return WindowFull(keys[int(number) - 1], int(wait) * _NS_PER_US)
        return SharedEntries(tuple(zip(keys, result.split(" "), strict=True)))

    def settle(self, counted: SharedEntries, *, reserved: int, used: int) -> None:
        """Sent without waiting: if the connection is lost, the call stays counted as it was reserved."""
        keys = [key for key, _ in counted.entries]
        entries = [entry for _, entry in counted.entries]
        if keys:
            self.connection.send(self._settle.evalsha(keys, [str(reserved), str(used), *entries]))

    async def _run(self, script: _Script, keys: list[WindowKey], arguments: list[str]) -> str:
        try:
            return (await self.connection.call(script.evalsha(keys, arguments))).decode()
        except RedisErrorReply as error:
            if not str(error).startswith("NOSCRIPT"):
                raise
        await self.prepare()  # Redis was restarted, or its scripts were flushed
        return (await self.connection.call(script.evalsha(keys, arguments))).decode()


class _Script:
    """A Lua script, called by its SHA-1 once Redis has it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._digest = sha1(text.encode(), usedforsecurity=False).hexdigest()

    def evalsha(self, keys: list[WindowKey], arguments: list[str]) -> bytes:
        return encode_command("EVALSHA", self._digest, *_keys_and_arguments(keys, arguments))

    def eval(self, keys: list[WindowKey], arguments: list[str]) -> bytes:
        return encode_command("EVAL", self._text, *_keys_and_arguments(keys, arguments))


def _keys_and_arguments(keys: list[WindowKey], arguments: list[str]) -> list[str]:
    """The braces are a Redis cluster's hash tag: all windows of an endpoint are on one node."""
    names = []
    for endpoint, owner, unit in keys:
        window = f"{PREFIX}:{{{endpoint}}}:{owner}:{unit}"
        names += [window, f"{window}:order"]
    return [str(len(names)), *names, *arguments]
