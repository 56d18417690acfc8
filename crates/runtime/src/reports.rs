//! Task reports, counted once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::common::Result;
use parking_lot::Mutex;
use pyrite_python::{PythonTaskReport, TaskReports};

/// Passes on the first report of each (job, operator, partition) and drops repetitions, which
/// come from retried tasks and lost replies.
pub struct OnceReports {
    next: Arc<dyn TaskReports>,
    seen: Mutex<HashMap<i64, HashSet<(i64, usize)>>>,
}

impl OnceReports {
    /// Reports to `next`.
    pub fn new(next: Arc<dyn TaskReports>) -> Self {
        Self {
            next,
            seen: Mutex::default(),
        }
    }

    /// Forgets a job that has ended.
    pub fn forget_job(&self, job_id: i64) {
        self.seen.lock().remove(&job_id);
    }
}

#[async_trait]
impl TaskReports for OnceReports {
    async fn python_task(&self, report: PythonTaskReport) -> Result<()> {
        let key = (report.operator_id, report.partition);
        let first = self
            .seen
            .lock()
            .entry(report.job_id)
            .or_default()
            .insert(key);
        if first {
            self.next.python_task(report).await
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Count(Mutex<Vec<(i64, i64, usize)>>);

    #[async_trait]
    impl TaskReports for Count {
        async fn python_task(&self, r: PythonTaskReport) -> Result<()> {
            self.0.lock().push((r.job_id, r.operator_id, r.partition));
            Ok(())
        }
    }

    fn report(job_id: i64, operator_id: i64, partition: usize) -> PythonTaskReport {
        PythonTaskReport {
            job_id,
            operator_id,
            partition,
            accumulator_updates: vec![],
        }
    }

    #[tokio::test]
    async fn a_repeated_report_counts_once() {
        let count = Arc::new(Count::default());
        let once = OnceReports::new(count.clone());
        for r in [
            report(1, 1, 0),
            report(1, 1, 1),
            report(1, 1, 0),
            report(1, 2, 0),
            report(2, 1, 0),
        ] {
            once.python_task(r).await.unwrap();
        }
        assert_eq!(
            *count.0.lock(),
            [(1, 1, 0), (1, 1, 1), (1, 2, 0), (2, 1, 0)]
        );
    }
}
