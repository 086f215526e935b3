%solution%
1;
