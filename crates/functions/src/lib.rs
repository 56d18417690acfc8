//! Spark's functions, casts and semantics where DataFusion's own differ.
//!
//! - [`registry`]: every function of this crate by name, so that executors can decode plans
//! - [`cast`], [`parse`], [`format`]: Spark's casts, text to values, values to text
//! - [`arithmetic`]: operators with ANSI's errors
//! - [`array_access`], [`lists`], [`regex`], [`datetime`], [`round`], [`random`]: functions by topic
//! - [`operators`]: ranges, text files, writing files
//! - [`renamed`]: datafusion-spark's functions under names of their own
//! - [`error`], [`type_names`]: Spark's runtime errors and names of types

pub mod arithmetic;
pub mod array_access;
pub mod cast;
pub mod checked_sum;
pub mod datetime;
pub mod datetime_pattern;
pub mod error;
pub mod format;
pub mod json;
pub mod lists;
pub mod operators;
pub mod parse;
pub mod random;
pub mod regex;
pub mod registry;
pub mod relabel;
pub mod renamed;
pub mod round;
pub mod type_names;
