//! The files that a physical plan reads.

use std::sync::Arc;

use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;

use pyrite_functions::operators::TextExec;

/// Their URLs, each once.
pub(crate) fn of(plan: &Arc<dyn ExecutionPlan>) -> Vec<String> {
    let mut out = vec![];
    collect(plan, &mut out);
    out.sort();
    out.dedup();
    out
}

fn collect(plan: &Arc<dyn ExecutionPlan>, out: &mut Vec<String>) {
    let any = plan.as_ref() as &dyn std::any::Any;
    if let Some(source) = any.downcast_ref::<DataSourceExec>() {
        let source = source.data_source().as_ref() as &dyn std::any::Any;
        if let Some(config) = source.downcast_ref::<FileScanConfig>() {
            for file in config.file_groups.iter().flat_map(|g| g.iter()) {
                out.push(format!("file:///{}", file.object_meta.location));
            }
        }
    }
    if let Some(text) = any.downcast_ref::<TextExec>() {
        out.extend(text.files().iter().map(|f| format!("file://{f}")));
    }
    for child in plan.children() {
        collect(child, out);
    }
}
