//! What stands for firewalld in a program that was built without it.

use std::net::IpAddr;

/// There is nothing that could fail.
#[derive(Debug, thiserror::Error)]
#[error("this program was built without the firewalld backend")]
pub struct Error;

/// Never made.
pub enum Firewalld {}

impl Firewalld {
    /// `None`.
    pub fn connect() -> Result<Option<Firewalld>, Error> {
        Ok(None)
    }

    /// Never called.
    pub fn add(&self, _: &str, _: &[IpAddr]) -> Result<(), Error> {
        match *self {}
    }

    /// Never called.
    pub fn remove(&self, _: &str, _: &[IpAddr]) -> Result<(), Error> {
        match *self {}
    }

    /// Never called.
    pub fn missing(&self, _: &str, _: &[IpAddr]) -> Result<Option<IpAddr>, Error> {
        match *self {}
    }
}
