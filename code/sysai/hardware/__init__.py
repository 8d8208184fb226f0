"""What hardware can do: measured rates and the roofline that bounds every program."""
