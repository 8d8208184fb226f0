"""Pipeline parallelism: a schedule is data, which one runtime executes, one simulator times, one validator checks."""
