"""The limits of hardware: measured rates and the roofline that bounds every program."""
