"""Client-side envelope encryption with Tencent Cloud KMS."""
