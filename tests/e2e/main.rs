//! Tests from outside: the real program as a process, real Git, bytes on a socket.

#![cfg(test)]
