"""Asset checks: rules on the lake and on runs, and their declaration for Dagster."""
