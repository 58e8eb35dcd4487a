"""Link aggregation: several network devices that work as one."""
