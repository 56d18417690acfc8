//! The master's decisions, with simulated events and hand-moved time.

mod properties;
mod scenarios;
mod sim;
