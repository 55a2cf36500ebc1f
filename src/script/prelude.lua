-- The sandbox in which scripts run: builtins that know protected tables, and the call from the server into a script.
-- It is given what the server provides; what scripts see are proxies without a field of their own, so that nothing of
-- what one script does to them reaches the next one.

local host, libraries = ...

-- Lua's own globals. A script may ask for the environment of any function that it can name or that has called it, so no
-- function here has them for its own: from the next line on it is the table that scripts see. What is needed of them
-- later on stands in locals.
local builtins = getfenv(0)
local shown = {}
setfenv(1, shown)

local error, type, tostring, tonumber, next, rawset, rawget, select =
  builtins.error, builtins.type, builtins.tostring, builtins.tonumber, builtins.next, builtins.rawset, builtins.rawget,
  builtins.select
local real_pcall, real_xpcall, real_pairs, real_setmetatable =
  builtins.pcall, builtins.xpcall, builtins.pairs, builtins.setmetatable
local real_load, real_loadstring = builtins.load, builtins.loadstring
local resume = builtins.coroutine.resume
local untangle, raised_at, name_at = host.untangle, host.raised_at, host.name_at
local string_byte = builtins.string.byte

-- `doomed` is the error that ends the running script, whatever the script does to catch it.
local doomed = nil

local READ_ONLY = "Attempt to modify a readonly table"

-- What scripts see of a table, and the other way round.
local reals = {}

local function refuse_change()
  error(READ_ONLY, 2)
end

local function protect(real, shown_metatable, proxy)
  proxy = proxy or {}
  reals[proxy] = real
  local metatable = {
    __index = real,
    __newindex = refuse_change,
    __metatable = shown_metatable or false,
  }
  return real_setmetatable(proxy, metatable), metatable
end

-- An error as the script may see it. What the server raises is wrapped; what is to end the script stays so.
local function plain(e)
  if doomed then
    error(doomed, 0)
  end
  if type(e) == "userdata" then
    e = untangle(e)
  end
  return e
end

local function after_pcall(ok, ...)
  if ok then
    return true, ...
  end
  local e = plain((...))
  -- Errors of commands are tables since 7.0; pcall goes on giving their text.
  if type(e) == "table" then
    local text = e.err
    if type(text) == "string" or type(text) == "number" then
      e = text
    end
  end
  return false, e
end

local function after_xpcall(ok, ...)
  if doomed then
    error(doomed, 0)
  end
  return ok, ...
end

local function after_resume(ok, ...)
  if ok then
    return true, ...
  end
  return false, plain((...))
end

local function after_load(chunk, ...)
  if doomed then
    error(doomed, 0)
  end
  if chunk then
    return chunk
  end
  return nil, plain((...))
end

local function type_error(place, name, wanted, value)
  local got = value == nil and "no value" or type(value)
  error("bad argument #" .. place .. " to '" .. name .. "' (" .. wanted .. " expected, got " .. got .. ")", 3)
end

local globals = {}

function globals.pcall(...)
  return after_pcall(real_pcall(...))
end

function globals.xpcall(f, handler)
  return after_xpcall(real_xpcall(f, function(e)
    return handler(plain(e))
  end))
end

local function next_of_proxy(proxy, key)
  local real = reals[proxy]
  local field, value = next(real, key)
  return field, value
end

function globals.pairs(t)
  if type(t) ~= "table" then
    type_error(1, "pairs", "table", t)
  end
  if reals[t] then
    return next_of_proxy, t, nil
  end
  return real_pairs(t)
end

function globals.rawset(t, key, value)
  if type(t) ~= "table" then
    type_error(1, "rawset", "table", t)
  end
  if reals[t] then
    error(READ_ONLY, 2)
  end
  if key == nil then
    error("table index is nil", 2)
  end
  if key ~= key then
    error("table index is NaN", 2)
  end
  return rawset(t, key, value)
end

function globals.rawget(t, key)
  if type(t) ~= "table" then
    type_error(1, "rawget", "table", t)
  end
  return rawget(reals[t] or t, key)
end

function globals.setmetatable(t, metatable)
  if type(t) ~= "table" then
    type_error(1, "setmetatable", "table", t)
  end
  if metatable ~= nil and type(metatable) ~= "table" then
    error("bad argument #2 to 'setmetatable' (nil or table expected)", 2)
  end
  if reals[t] then
    error(READ_ONLY, 2)
  end
  -- Called by pcall it refuses without naming this place.
  local ok, text = real_pcall(real_setmetatable, t, metatable)
  if not ok then
    error(text, 2)
  end
  return t
end

globals.getfenv, globals.setfenv = host.getfenv, host.setfenv

-- Precompiled code could break the interpreter: only text is read.
local function is_text(piece)
  return type(piece) ~= "string" or string_byte(piece, 1) ~= 27
end

local NO_BINARY = "attempt to load a binary chunk"

function globals.loadstring(text, name)
  if type(text) == "number" then
    text = tostring(text)
  end
  if type(text) ~= "string" then
    type_error(1, "loadstring", "string", text)
  end
  if not is_text(text) then
    return nil, NO_BINARY
  end
  return real_loadstring(text, name or text)
end

function globals.load(reader, name)
  if type(reader) ~= "function" then
    type_error(1, "load", "function", reader)
  end
  local first = true
  return after_load(real_load(function()
    local piece = reader()
    if first and piece ~= nil and piece ~= "" then
      first = false
      if not is_text(piece) then
        error(NO_BINARY, 0)
      end
    end
    return piece
  end, name))
end

for _, name in real_pairs({
  "tostring", "next", "assert", "tonumber", "rawequal", "collectgarbage", "getmetatable", "type", "select",
  "unpack", "gcinfo", "ipairs", "error", "_VERSION",
}) do
  globals[name] = builtins[name]
end

local function copy(from)
  local to = {}
  for key, value in real_pairs(from) do
    to[key] = value
  end
  return to
end

local strings = copy(builtins.string)
local routines = copy(builtins.coroutine)

function routines.resume(...)
  return after_resume(resume(...))
end

local maths = copy(builtins.math)
maths.random, maths.randomseed = host.random, host.randomseed

-- table.insert writes past metatables.
local tables = copy(builtins.table)
local insert = tables.insert

-- As the C library words it: the function has the name that its caller uses.
local function insert_error(place, wanted, got)
  local name = name_at(2)
  error("bad argument #" .. place .. " to '" .. name .. "' (" .. wanted .. " expected, got " .. got .. ")", 3)
end

function tables.insert(...)
  local count, t, place, value = select("#", ...), ...
  if type(t) ~= "table" then
    insert_error(1, "table", count == 0 and "no value" or type(t))
  end
  if reals[t] then
    error(READ_ONLY, 0)
  end
  if count == 2 then
    return insert(t, place)
  end
  if count ~= 3 then
    error("wrong number of arguments to 'insert'", 2)
  end
  if not tonumber(place) then
    insert_error(2, "number", type(place))
  end
  return insert(t, place, value)
end

globals.string = (protect(strings))
globals.table = (protect(tables))
globals.math = (protect(maths))
globals.coroutine = (protect(routines))
globals.os = (protect({ clock = builtins.os.clock }))
for name, library in real_pairs(libraries) do
  globals[name] = (protect(library))
end

-- Strings find their methods here; the table behind them is out of reach.
local of_strings = builtins.getmetatable("")
of_strings.__index = strings
of_strings.__metatable = (protect({ __index = globals.string }))

local function missing_global(_, name)
  if type(name) ~= "string" and type(name) ~= "number" then
    error("Second argument to luaProtectedTableError must be a string or number", 2)
  end
  error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
end

real_setmetatable(globals, { __index = missing_global })
local _, metatable_of_shown = protect(globals, (protect({ __index = missing_global })), shown)
globals._G = shown

-- Nothing is left of the rest, should anybody find a way there after all.
for _, library in real_pairs({ builtins.os, builtins }) do
  for name in real_pairs(library) do
    library[name] = nil
  end
end

-- While a library is loaded there is nothing but what registers functions.
local loading = nil
if host.registering then
  real_setmetatable(host.registering, { __index = missing_global })
  loading = real_setmetatable({ redis = (protect(host.registering)) }, { __index = missing_global })
end

-- Running.

local function on_error(e)
  if type(e) == "userdata" then
    e = untangle(e)
  end
  if type(e) ~= "table" then
    e = { err = "ERR " .. tostring(e) }
  end
  local source, line = raised_at()
  if source then
    e.source, e.line = source, line
  end
  return e
end

local functions = {}

local sandbox = {}

-- The server calls functions by itself: KEYS and ARGV are globals to EVAL and arguments to FCALL.
sandbox.environment = shown
sandbox.globals = globals
sandbox.functions = functions
sandbox.on_error = on_error

function sandbox.define(name, f)
  functions[name] = f
end

function sandbox.forget(name)
  functions[name] = nil
end

-- Runs a library's code, which registers functions. Gives nothing or the error.
function sandbox.load(chunk)
  doomed = nil
  reals[shown], metatable_of_shown.__index = loading, loading
  local ok, e = real_pcall(chunk)
  reals[shown], metatable_of_shown.__index = globals, globals
  doomed = nil
  if ok then
    return nil
  end
  if type(e) == "userdata" then
    e = untangle(e)
  end
  if type(e) ~= "table" then
    e = { err = "ERR " .. tostring(e) }
  end
  return e
end

-- From now on nothing is caught: the script ends with this error. Nothing: the next script begins.
function sandbox.doom(e)
  doomed = e
end

return sandbox
