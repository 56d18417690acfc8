//! Real masters and workers on loopback; executors are small shell scripts that note what they got.

mod harness;
mod life;
mod trouble;
