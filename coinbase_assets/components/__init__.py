"""A deployment of the assets: its options, its builder, and the component that others use."""
