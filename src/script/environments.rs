//! getfenv and setfenv of scripts: Lua's, but for three things. What the server has set up (the functions of the prelude,
//! the frame that starts a script) looks like the library's own functions in C: it has the globals for its environment and
//! cannot be given another one. A script's first function is the last level, as where nothing of ours has called it. And
//! nobody replaces the globals.
//!
//! They are functions in C, not of the prelude, because they speak of levels: a tail call to a function in Lua would have
//! replaced the caller that is meant.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int};
use std::mem::MaybeUninit;

use mlua::ffi::{self, lua_State};
use mlua::{Function, Lua};

use super::stack::run_job;

/// What the prelude is called, where Lua tells of functions.
const PRELUDE: &CStr = c"=prelude";

const ENVIRONMENT: c_int = ffi::LUA_GLOBALSINDEX;

/// getfenv, or setfenv.
pub(super) fn environment_function(lua: &Lua, sets: bool) -> mlua::Result<Function> {
    let function = if sets { setfenv } else { getfenv };
    // SAFETY: runs protected; the closure owns nothing.
    unsafe { lua.exec_raw((), |state| ffi::lua_pushcclosure(state, function, 0)) }
}

// SAFETY: Lua calls it.
unsafe extern "C-unwind" fn getfenv(state: *mut lua_State) -> c_int {
    // SAFETY: nothing is owned here, so errors may jump out. One value is pushed beside the function, and Lua gives room
    // for twenty.
    unsafe {
        push_function(state, true);
        match is_ours(state) {
            true => ffi::lua_pushvalue(state, ENVIRONMENT),
            false => ffi::lua_getfenv(state, -1),
        }
        1
    }
}

// SAFETY: Lua calls it.
unsafe extern "C-unwind" fn setfenv(state: *mut lua_State) -> c_int {
    // SAFETY: as in `getfenv`.
    unsafe {
        ffi::luaL_checktype(state, 2, ffi::LUA_TTABLE);
        if ffi::lua_isnumber(state, 1) != 0 && ffi::lua_tonumber(state, 1) == 0.0 {
            return ffi::luaL_error(state, c"Attempt to modify a readonly table".as_ptr());
        }
        push_function(state, false);
        if is_ours(state) {
            let text = c"'setfenv' cannot change environment of given object";
            return ffi::luaL_error(state, text.as_ptr());
        }
        ffi::lua_pushvalue(state, 2);
        ffi::lua_setfenv(state, -2);
        1
    }
}

/// Pushes the function that the first argument is, or that runs at the level it says.
unsafe fn push_function(state: *mut lua_State, may_lack: bool) {
    // SAFETY: as in `getfenv`. The record is filled by `lua_getstack` before anything reads it.
    unsafe {
        if ffi::lua_type(state, 1) == ffi::LUA_TFUNCTION {
            return ffi::lua_pushvalue(state, 1);
        }
        let level = match may_lack && ffi::lua_type(state, 1) <= ffi::LUA_TNIL {
            true => 1,
            false => ffi::luaL_checknumber(state, 1) as c_int,
        };
        if level < 0 {
            ffi::luaL_argerror(state, 1, c"level must be non-negative".as_ptr());
        }
        let mut record = MaybeUninit::<ffi::lua_Debug>::zeroed();
        let record = record.as_mut_ptr();
        if ffi::lua_getstack(state, level, record) == 0 {
            ffi::luaL_argerror(state, 1, c"invalid level".as_ptr());
        }
        ffi::lua_getinfo(state, c"f".as_ptr(), record);
        match ffi::lua_type(state, -1) {
            ffi::LUA_TNIL => {
                let text = c"no function environment for tail call at level %d";
                ffi::luaL_error(state, text.as_ptr(), level);
            }
            _ if ffi::lua_tocfunction(state, -1).is_some_and(is_start) => {
                ffi::luaL_argerror(state, 1, c"invalid level".as_ptr());
            }
            _ => {}
        }
    }
}

/// What starts a script.
fn is_start(function: ffi::lua_CFunction) -> bool {
    std::ptr::fn_addr_eq(function, run_job as ffi::lua_CFunction)
}

/// Whether the function on top of the stack is one in C, or of the prelude.
unsafe fn is_ours(state: *mut lua_State) -> bool {
    // SAFETY: there is a function, of which one more is pushed for Lua to take. What Lua tells of it is a text that ends
    // with a zero and lives as long as the function. Nothing here raises.
    unsafe {
        if ffi::lua_iscfunction(state, -1) != 0 {
            return true;
        }
        let mut record = MaybeUninit::<ffi::lua_Debug>::zeroed();
        let record = record.as_mut_ptr();
        ffi::lua_pushvalue(state, -1);
        ffi::lua_getinfo(state, c">S".as_ptr(), record);
        let source = (*record).source;
        !source.is_null() && CStr::from_ptr(source) == PRELUDE
    }
}
