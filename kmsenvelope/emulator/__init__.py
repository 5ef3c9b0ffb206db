"""A local engine with the semantics of the Tencent Cloud KMS API, and its HTTP front."""
