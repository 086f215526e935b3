%solution%
