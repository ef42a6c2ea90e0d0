//! The history tools: what Django, Flyway and sqitch users do by hand at least once.

mod baseline;
mod fake;
mod import;
mod import_django;
mod import_tools;
mod make;
mod programs;
mod repair;
mod squash;
mod status;
